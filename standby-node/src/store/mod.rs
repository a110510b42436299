//! The node's directory: archive, recording log, mark files, cnc.dat.
