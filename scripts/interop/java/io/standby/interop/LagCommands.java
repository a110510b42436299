package io.standby.interop;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.file.Path;

/**
 * Lets whoever holds a program's stdin choose what its lag histogram covers: {@code lag reset} empties it and is
 * answered by {@code lag reset}; {@code lag FILE} writes it there and is answered by {@code lag count=N p50_us=...}.
 */
final class LagCommands {
    private static final String PREFIX = "lag ";

    private LagCommands() {
    }

    static void serve(final LagHistogram lag) {
        final Thread reader = new Thread(
            () -> new BufferedReader(new InputStreamReader(System.in)).lines().forEach((line) -> obey(lag, line)),
            "lag-commands");
        reader.setDaemon(true);
        reader.start();
    }

    private static void obey(final LagHistogram lag, final String line) {
        if (!line.startsWith(PREFIX)) {
            Out.error("unknown command: " + line);
        } else if (line.equals("lag reset")) {
            lag.reset();
            Out.line(line);
        } else {
            lag.write(Path.of(line.substring(PREFIX.length())));
            Out.line(PREFIX + lag);
        }
    }
}
