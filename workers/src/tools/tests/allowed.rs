//! Where tools may be called, at the door and at dispatch.

use super::{
    super::{Allowed, Tools, allowed::Reach, dial, dial::NotSent, http::HttpTools},
    EFFECTS, call, failed,
    server::{Server, ok},
    tools,
};
use spine_schemas::{Effect, ErrorClass};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

#[test]
fn loopback_is_the_default_and_nothing_else_is_in_it() {
    let allowed = Allowed::default();
    for tool in [
        "http://127.0.0.1:9000/lookup",
        "https://127.255.1.2/",
        "http://localhost:1/",
        "http://LOCALHOST./",
        "http://[::1]:9000/x",
        "http://[::ffff:127.0.0.1]/",
    ] {
        assert_eq!(allowed.check(tool), Ok(()), "{tool}");
    }
    for tool in [
        "http://example.com/",
        "http://localhost.example.com/",
        "http://a.localhost/",
        "http://128.0.0.1/",
        "http://0.0.0.0/",
        "http://10.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://[::]/",
        "http://[::ffff:10.0.0.1]/",
    ] {
        let refusal = allowed.check(tool).unwrap_err();
        assert!(refusal.contains("--allow-tool-host"), "{tool}: {refusal}");
    }
}

#[test]
fn a_refusal_names_the_setting_to_paste() {
    let refusal = Allowed::default().check("https://api.example.com/v1").unwrap_err();
    let expected = "tools may not be called on api.example.com:443; \
        allow it with --allow-tool-host api.example.com:443";
    assert_eq!(refusal, expected);
    let refusal = Allowed::default().check("http://[2001:DB8::1]/").unwrap_err();
    let pasted = refusal.split(' ').next_back().unwrap();
    assert_eq!(pasted, "[2001:db8::1]:80");
    assert_eq!(Allowed::parse([pasted]).unwrap().check("http://[2001:db8::1]/"), Ok(()));
}

#[test]
fn patterns_match_what_they_say() {
    for (pattern, tool, is_allowed) in [
        ("api.example.com", "https://api.example.com/", true),
        ("API.example.com.", "https://api.EXAMPLE.com:8443/", true),
        ("api.example.com", "https://other.example.com/", false),
        ("api.example.com", "https://api.example.com.evil.net/", false),
        ("api.example.com:8443", "https://api.example.com:8443/", true),
        ("api.example.com:443", "https://api.example.com/", true),
        ("api.example.com:8443", "https://api.example.com/", false),
        ("*.example.com", "https://a.b.example.com/", true),
        ("*.example.com", "https://example.com/", false),
        ("*.example.com", "https://badexample.com/", false),
        ("*.example.com:443", "http://a.example.com/", false),
        ("10.0.0.1", "http://10.0.0.1:80/", true),
        ("*.0.1", "http://10.0.0.1/", false),
        ("::1", "http://[::1]:7/", true),
        ("[2001:DB8::0]:80", "http://[2001:db8::]/", true),
        ("[2001:db8::]:81", "http://[2001:db8::]/", false),
        ("loopback", "http://127.0.0.1/", true),
        ("api.example.com", "http://127.0.0.1/", false),
    ] {
        // A suffix that looks like part of an address is no pattern or matches no address.
        let allowed = Allowed::parse([pattern]).is_ok_and(|allowed| allowed.check(tool).is_ok());
        assert_eq!(allowed, is_allowed, "{pattern} on {tool}");
    }
    assert_eq!(Allowed::parse([""; 0]), Ok(Allowed::loopback()));
    let both = Allowed::parse(["loopback", "api.example.com"]).unwrap();
    assert_eq!(both.check("http://127.0.0.1/"), Ok(()));
}

#[test]
fn what_is_no_pattern_is_refused() {
    for pattern in [
        "",
        "*",
        "*.",
        "*.*.com",
        "a*.com",
        ".com",
        "http://a.com",
        "a.com/x",
        "u@a.com",
        "a.com:0",
        "a.com:x",
        "a.com:99999",
        "[::1",
        "[::1]x",
        "[a.com]:1",
        "*.127.0.0.1",
        "a b",
        "größe.de",
    ] {
        assert!(Allowed::parse([pattern]).is_err(), "{pattern}");
    }
}

#[test]
fn malformed_tools_are_refused_and_passwords_are_not_repeated() {
    for tool in [
        "",
        "lookup",
        "queue:refunds",
        "ftp://127.0.0.1/",
        "http://",
        "http:///x",
        "http://:80/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:x/",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://127.0.0.1 /",
        "http://größe/",
        "//127.0.0.1/",
    ] {
        assert!(tools().check(tool).is_err(), "{tool}");
    }
    let refusal = tools().check("http://user:secret@127.0.0.1/").unwrap_err();
    assert!(!refusal.contains("secret"), "{refusal}");
}

#[test]
fn a_local_name_that_resolves_elsewhere_is_refused_when_connecting() {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
    let mapped = SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), 80));
    let foreign = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 80));
    let local6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 80));
    let forbidden = Err(NotSent::Forbidden(foreign.ip()));
    assert_eq!(dial::within(Reach::Loopback, &[local, local6, mapped]), Ok(()));
    assert_eq!(dial::within(Reach::Loopback, &[local, foreign]), forbidden);
    assert_eq!(dial::within(Reach::AsResolved, &[foreign]), Ok(()));
}

#[tokio::test]
async fn a_host_that_is_not_allowed_is_refused_at_dispatch_too() {
    let server = Server::answering(ok("1")).await;
    let tools = HttpTools::new(Allowed::parse(["api.example.com"]).unwrap());
    for effect in EFFECTS {
        let error = failed(tools.call(call(&server.url("/"), effect)).await);
        assert_eq!((error.class, &*error.code), (ErrorClass::Policy, "tool_host_not_allowed"));
    }
    assert_eq!(server.connections(), 0);
    let error = failed(tools.call(call("queue:refunds", Effect::Pure)).await);
    assert_eq!((error.class, &*error.code), (ErrorClass::Terminal, "tool_url_invalid"));
}
