//! Foreign producers write to the topic, legal events and others.
