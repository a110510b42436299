//! The reference service `audit`: a hash over everything it was given.
