//! Defects that are planted in core on purpose: a simulation that cannot find them proves nothing.
