//! The sweep: every so often a slice of the connections is looked at for what is due. No connection has a timer.

use super::{Farewell, Shard};
use crate::connection::{Phase, Transport};
use crate::limits::{ATTACHMENT_MS, LINGER_MS, POLLING_LINGER_MS, STALL_CLOSE_MS};
use crate::socketio::reason::Reason;
use crate::wire::Replayed;

/// A whole round takes so many ticks.
pub(crate) const SLICES: u32 = 16;

impl Shard {
    pub(super) fn sweep(&mut self) {
        self.tick();
        let slice = self.connections.end() / SLICES + 1;
        for _ in 0..slice {
            let index = self.sweep_at;
            self.sweep_at += 1;
            if self.sweep_at >= self.connections.end() {
                self.sweep_at = 0;
                self.replayed = Replayed::default();
                self.latest = Replayed::default();
            }
            if self.connections.contains(index) {
                self.visit(index);
            }
        }
        self.flush_dirty();
    }

    fn visit(&mut self, index: u32) {
        let now_ms = self.now_ms;
        let outbox_bytes_max = self.server.hub.limits.outbox_bytes;
        let upgrade_ms = self.server.config.upgrade_timeout_ms();
        let connect_ms = self.server.config.connect_timeout_ms();
        let Some(connection) = self.at(index) else { return };
        let has_link = connection.has_link();
        if let Phase::Closing { since_ms, .. } = connection.phase {
            let linger_ms = match has_link {
                true if connection.blocked => STALL_CLOSE_MS,
                true => LINGER_MS,
                false => POLLING_LINGER_MS,
            };
            if now_ms - since_ms > linger_ms {
                self.remove(index);
            }
            return;
        }
        let is_stream = matches!(connection.transport, Transport::Stream(_));
        if (has_link || is_stream) && connection.blocked && now_ms - connection.progress_ms > STALL_CLOSE_MS {
            tracing::debug!(connection = %connection.key, "a client accepted no byte for 30 s");
            self.meters.stalled.add(1);
            return self.end(index, Reason::TransportError, Farewell::None);
        }
        if connection.plain().is_some() {
            return self.visit_plain(index);
        }
        if connection
            .probe
            .as_ref()
            .is_some_and(|probe| now_ms - probe.since_ms > upgrade_ms)
        {
            self.drop_probe(index);
        }
        let Some(connection) = self.at(index) else { return };
        let Some(client) = connection.client() else { return };
        if !client.has_entered() && now_ms - connection.opened_ms > connect_ms {
            return self.end(index, Reason::ForcedClose, Farewell::Goodbye);
        }
        let owes_since_ms = client.partial_since_ms();
        if owes_since_ms.is_some_and(|since_ms| now_ms - since_ms > ATTACHMENT_MS) {
            tracing::debug!(connection = %connection.key, "a client left a packet without its attachments");
            return self.end(index, Reason::ForcedClose, Farewell::Goodbye);
        }
        if !self.check_credentials(index) {
            return;
        }
        let Some(connection) = self.at(index) else { return };
        if has_link && connection.is_paused(outbox_bytes_max) {
            // Its answers wait in the kernel: they can't be missed.
            connection.heartbeat.received_ms = now_ms;
        }
        self.heartbeat(index);
    }
}
