package io.standby.perf;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The peer of the transport bench: runs what stdin asks for, one command a line, and answers each with one line.
 *
 * <pre>
 *   rtt WARM_UP COUNT LENGTH FILE     round trips, each as 8 little-endian bytes of nanoseconds in FILE
 *   one-way WARM_UP_MS MS LENGTH      answers "taken MESSAGES NANOSECONDS"
 * </pre>
 * Drivers and clients live for one command only, so that nothing spins between two of them; compiled code stays.
 */
public final class TransportPeer {
    private TransportPeer() {
    }

    public static void main(final String[] args) throws Exception {
        final TransportSettings settings = new TransportSettings(
            args[0], number(args[1]), number(args[2]), number(args[3]), number(args[4]), number(args[5]),
            number(args[6]), number(args[7]));
        final BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        System.out.println("ready");
        for (String line = commands.readLine(); null != line; line = commands.readLine()) {
            final String[] words = line.split(" ");
            try {
                System.out.println(run(settings, words));
            } catch (final Throwable failed) {
                failed.printStackTrace();
                System.out.println("failed " + failed);
            }
        }
    }

    private static String run(final TransportSettings settings, final String[] words) throws Exception {
        switch (words[0]) {
            case "rtt": {
                final long[] roundTripsNs =
                    new RoundTrips(settings, number(words[3])).run(number(words[1]), number(words[2]));
                store(roundTripsNs, Path.of(words[4]));
                return "done";
            }
            case "one-way": {
                final OneWay.Taken taken = new OneWay(settings, number(words[3]))
                    .run(number(words[1]) * 1_000_000L, number(words[2]) * 1_000_000L);
                return "taken " + taken.messageCount() + " " + taken.durationNs();
            }
            default:
                throw new IllegalArgumentException("unknown command " + words[0]);
        }
    }

    private static void store(final long[] values, final Path path) throws Exception {
        final ByteBuffer bytes = ByteBuffer.allocate(values.length * Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asLongBuffer().put(values);
        Files.write(path, bytes.array());
    }

    private static int number(final String text) {
        return Integer.parseInt(text);
    }
}
