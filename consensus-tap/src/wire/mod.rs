//! UDP frames of the Aeron transport, one file each.
