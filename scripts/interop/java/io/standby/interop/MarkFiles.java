package io.standby.interop;

import java.io.File;
import java.io.IOException;
import java.io.RandomAccessFile;

/**
 * Frees the mark files that a killed process left: Aeron refuses to start for ten seconds after the last activity
 * time in them. The caller knows that the process is gone. Both kinds, the archive's and the cluster's, keep the
 * activity time as a little-endian i64 at offset 16, -1 after a clean end.
 */
final class MarkFiles {
    private static final int ACTIVITY_TIMESTAMP_OFFSET = 16;

    private MarkFiles() {
    }

    static void release(final File directory) throws IOException {
        final File[] files = directory.listFiles((dir, name) -> name.contains("-mark") && name.endsWith(".dat"));
        if (files == null) {
            return;
        }
        for (final File file : files) {
            try (RandomAccessFile mark = new RandomAccessFile(file, "rw")) {
                if (mark.length() >= ACTIVITY_TIMESTAMP_OFFSET + Long.BYTES) {
                    mark.seek(ACTIVITY_TIMESTAMP_OFFSET);
                    mark.writeLong(-1L);
                }
            }
        }
    }
}
