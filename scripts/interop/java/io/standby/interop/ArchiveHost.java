package io.standby.interop;

import java.io.File;

import io.aeron.archive.Archive;
import io.aeron.archive.ArchiveThreadingMode;
import io.aeron.archive.ArchivingMediaDriver;
import io.aeron.archive.client.AeronArchive;
import io.aeron.driver.MediaDriver;
import io.aeron.driver.ThreadingMode;

/**
 * A Java archive with its media driver on the directory {@code --dir} (which holds {@code archive}), in
 * {@code --aeron-dir}. Prints {@code ready} and ends with its standard input. With {@code --control-port} it serves
 * clients of localhost.
 */
public final class ArchiveHost {
    private ArchiveHost() {
    }

    public static void main(final String[] args) throws Exception {
        final Flags flags = new Flags(args);
        final File archiveDir = new File(flags.text("dir"), "archive");
        final String aeronDir = flags.text("aeron-dir");
        final int controlPort = flags.integer("control-port", 0);
        flags.finish();
        // Whoever ran here is gone, as the caller knows.
        MarkFiles.release(archiveDir);
        final MediaDriver.Context driver = new MediaDriver.Context()
            .aeronDirectoryName(aeronDir)
            .threadingMode(ThreadingMode.SHARED)
            .termBufferSparseFile(true)
            .dirDeleteOnStart(true)
            .dirDeleteOnShutdown(true);
        final Archive.Context archive = new Archive.Context()
            .aeronDirectoryName(aeronDir)
            .archiveDir(archiveDir)
            .deleteArchiveOnStart(false)
            .controlChannelEnabled(controlPort != 0)
            .localControlChannel("aeron:ipc")
            .archiveClientContext(new AeronArchive.Context().controlResponseChannel("aeron:udp?endpoint=localhost:0"))
            .replicationChannel("aeron:udp?endpoint=localhost:0")
            .threadingMode(ArchiveThreadingMode.SHARED);
        if (controlPort != 0) {
            archive.controlChannel("aeron:udp?endpoint=localhost:" + controlPort);
        }
        try (ArchivingMediaDriver ignore = ArchivingMediaDriver.launch(driver, archive)) {
            Out.line("ready");
            while (System.in.read() >= 0) {
                Thread.onSpinWait();
            }
        }
    }
}
