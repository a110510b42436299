package io.standby.interop;

import java.io.File;
import java.util.concurrent.TimeUnit;

import io.aeron.CommonContext;
import io.aeron.cluster.ClusterControl;
import io.aeron.cluster.NodeControl;
import org.agrona.concurrent.status.AtomicCounter;

/**
 * Sets a control toggle by compare-and-set, as the official tools do.
 *
 * <p>{@code --action SNAPSHOT|STANDBY_SNAPSHOT|SHUTDOWN|ABORT|SUSPEND|RESUME} goes to the leader among
 * {@code --aeron-dirs a,b,c}; {@code --node REPLICATE_STANDBY_SNAPSHOT} goes to the node of the first directory.
 * Prints {@code control action=SNAPSHOT dir=D toggled}; with {@code --wait} also waits until the toggle is
 * neutral again, which for SNAPSHOT is when the members have taken it, and prints {@code control done}.
 * {@code --find-leader} only prints {@code control leader=D}. Exits with 1 when the time is over.
 */
public final class Control {
    private static final long DRIVER_TIMEOUT_MS = 3_000;

    private Control() {
    }

    public static void main(final String[] args) throws InterruptedException {
        final Flags flags = new Flags(args);
        final String[] dirs = flags.text("aeron-dirs").split(",");
        final String action = flags.text("action", null);
        final String node = flags.text("node", null);
        final boolean isWaiting = flags.isSet("wait");
        final boolean onlyFinds = flags.isSet("find-leader");
        final int clusterId = flags.integer("cluster-id", 0);
        final long deadlineMs = System.currentTimeMillis() + flags.size("timeout-ms", 20_000);
        flags.finish();

        final String dir = node != null ? dirs[0] : awaitLeader(dirs, deadlineMs);
        if (onlyFinds) {
            Out.line("control leader=" + dir);
            return;
        }
        final ClusterCounters counters = new ClusterCounters(dir);
        final AtomicCounter toggle = node != null ?
            NodeControl.findControlToggle(counters.reader(), clusterId) :
            ClusterControl.findControlToggle(counters.reader(), clusterId);
        if (toggle == null) {
            fail("no control toggle in " + dir);
        }
        while (!(node != null ?
            NodeControl.ToggleState.valueOf(node).toggle(toggle) :
            ClusterControl.ToggleState.valueOf(action).toggle(toggle))) {
            pause(deadlineMs, "the toggle stays at " + toggle.get());
        }
        Out.line("control action=" + (node != null ? node : action) + " dir=" + dir + " toggled");
        if (isWaiting) {
            while (toggle.get() != ClusterControl.ToggleState.NEUTRAL.code()) {
                pause(deadlineMs, "the toggle stays at " + toggle.get());
            }
            Out.line("control done");
        }
    }

    /** The directory whose living driver holds the leader's counters. */
    private static String awaitLeader(final String[] dirs, final long deadlineMs) throws InterruptedException {
        while (true) {
            for (final String dir : dirs) {
                if (CommonContext.isDriverActive(new File(dir), DRIVER_TIMEOUT_MS, (ignored) -> { }) &&
                    new ClusterCounters(dir).isLeader()) {
                    return dir;
                }
            }
            pause(deadlineMs, "no leader among " + String.join(",", dirs));
        }
    }

    private static void pause(final long deadlineMs, final String trouble) throws InterruptedException {
        if (System.currentTimeMillis() > deadlineMs) {
            fail(trouble);
        }
        TimeUnit.MILLISECONDS.sleep(20);
    }

    private static void fail(final String reason) {
        Out.error("control failed: " + reason);
        System.exit(1);
    }
}
