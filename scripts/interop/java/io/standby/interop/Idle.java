package io.standby.interop;

import java.util.function.Supplier;

import org.agrona.concurrent.BackoffIdleStrategy;
import org.agrona.concurrent.BusySpinIdleStrategy;
import org.agrona.concurrent.IdleStrategy;
import org.agrona.concurrent.SleepingMillisIdleStrategy;
import org.agrona.concurrent.YieldingIdleStrategy;

/** Idle strategies by name. The default gives the core away soon: three members and a client share two cores. */
final class Idle {
    private Idle() {
    }

    static Supplier<IdleStrategy> named(final String name) {
        return switch (name) {
            case "spin" -> BusySpinIdleStrategy::new;
            case "yield" -> YieldingIdleStrategy::new;
            case "backoff" -> () -> new BackoffIdleStrategy(0, 2, 10_000, 1_000_000);
            case "sleep" -> () -> new SleepingMillisIdleStrategy(1);
            default -> throw new IllegalArgumentException("idle is spin, yield, backoff or sleep, not: " + name);
        };
    }
}
