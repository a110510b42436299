package io.standby.perf;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Pins the calling thread, and not the JVM's own threads beside it. */
final class Pinning {
    private Pinning() {
    }

    static void pinThisThread(final int core) throws IOException, InterruptedException {
        final String threadId = Files.readSymbolicLink(Path.of("/proc/thread-self")).getFileName().toString();
        final Process taskset = new ProcessBuilder("taskset", "-pc", Integer.toString(core), threadId)
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .start();
        if (taskset.waitFor() != 0) {
            throw new IOException("taskset cannot pin thread " + threadId + " to core " + core);
        }
    }
}
