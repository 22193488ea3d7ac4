//! Addresses and refusals.

use super::*;

fn answer(status: u16, text: &str) -> Answer {
    Answer { status, text: text.to_owned() }
}

#[test]
fn a_server_is_http_host_and_port() {
    let url = |text: &str| text.parse::<ServerUrl>().map(|url| url.to_string());
    assert_eq!(url("http://127.0.0.1:7700"), Ok("http://127.0.0.1:7700".into()));
    assert_eq!(url("http://localhost:7700/"), Ok("http://localhost:7700".into()));
    assert_eq!(url("http://[::1]:7700"), Ok("http://[::1]:7700".into()));
    assert_eq!(url("http://localhost"), Ok("http://localhost:80".into()));
    for wrong in ["", "127.0.0.1:7700", "localhost", "ftp://h:1", "http://h:1/v1", "http://u@h:1"] {
        assert!(url(wrong).is_err(), "{wrong} was taken");
    }
    assert!(url("https://h:1").unwrap_err().contains("TLS"));
}

#[test]
fn ids_become_one_segment() {
    assert_eq!(segment("a-b_c.d~e"), "a-b_c.d~e");
    assert_eq!(segment("branch/step#2"), "branch%2Fstep%232");
    assert_eq!(segment("é?"), "%C3%A9%3F");
}

#[test]
fn a_problem_reads_as_what_happened_and_what_to_do() {
    let text = r#"{"type":"urn:spine:problem:letter_closed","title":"The letter is closed","status":409,
        "code":1211,"name":"letter_closed","detail":"letter 3f is redriven",
        "remedy":"GET the letter for what became of it."}"#;
    let failure = failure_of(&answer(409, text), false);
    assert_eq!(failure.exit(), Exit::Failed);
    assert_eq!(
        failure.text(),
        "error: The letter is closed: letter 3f is redriven (1211 letter_closed)\n  \
         to do: GET the letter for what became of it.\n"
    );
    assert!(failure_of(&answer(409, text), true).text().starts_with('{'));
}

#[test]
fn bad_lines_are_listed() {
    let text = r#"{"title":"Some events were refused; none was appended","code":1110,
        "name":"bad_events","detail":"line 7: is not known (2 bad in all)","remedy":"Correct them.",
        "errors":[{"line":7,"code":1101,"name":"invalid_field","field":"surprise","message":"is not known"},
                  {"line":9,"code":1113,"name":"not_an_event","message":"EOF"}],"more_errors":3}"#;
    let shown = failure_of(&answer(422, text), false).text();
    assert!(shown.contains("\n  line 7: surprise: is not known (1101)"), "{shown}");
    assert!(shown.contains("\n  line 9: EOF (1113)"), "{shown}");
    assert!(shown.contains("\n  and 3 more"), "{shown}");
}

#[test]
fn another_kind_of_server_is_named_as_such() {
    let shown = failure_of(&answer(404, "<html>nginx</html>"), false).text();
    assert!(shown.contains("404 <html>nginx</html>"), "{shown}");
    assert!(shown.contains("Spine server"), "{shown}");
}
