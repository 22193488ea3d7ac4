//! Workers that were stopped and come back after somebody took their place.
