//! One socket's worth of images and publications: dispatch by frame type, stream and session.
