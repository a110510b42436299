//! Messages of snapshot recordings (schema 111).
