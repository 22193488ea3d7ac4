//! Workers come and go under load: nothing is lost, nothing happens twice, order is kept.
