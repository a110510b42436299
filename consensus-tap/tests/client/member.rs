//! A member's driver and its streams: what was sent to it as messages, what it sends as publications.

use std::collections::VecDeque;
use std::net::SocketAddr;

use consensus_tap::endpoint::{Endpoint, EndpointEvent};
use consensus_tap::image::{FragmentAssembler, ImageKey, ImageSink, Refused, SubscriptionParams};
use consensus_tap::publication::{PublicationId, PublicationParams};
use consensus_tap::wire::frames;

use super::network::Network;

pub(crate) const INGRESS_STREAM_ID: i32 = 101;

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: i32,
    pub(crate) address: SocketAddr,
    pub(crate) is_running: bool,
    endpoint: Endpoint,
    inbox: Inbox,
    answers: Vec<Answers>,
    next_stream_session_id: i32,
}

/// The publication to one client.
#[derive(Debug)]
struct Answers {
    to: (SocketAddr, i32),
    publication: PublicationId,
    waiting: VecDeque<Vec<u8>>,
    is_ending: bool,
}

#[derive(Debug, Default)]
struct Inbox {
    assemblers: Vec<(ImageKey, FragmentAssembler)>,
    messages: Vec<Vec<u8>>,
}

impl ImageSink for Inbox {
    fn append(&mut self, image: ImageKey, position: i64, bytes: &[u8]) -> Result<(), Refused> {
        let mut assemblers = self.assemblers.iter_mut();
        let assembler = &mut assemblers.find(|(known, _)| *known == image).expect("it was announced").1;
        let mut position = position;
        for frame in frames(bytes) {
            let frame = frame.expect("frames are whole");
            if let Some(message) = assembler.on_frame(&frame, position) {
                self.messages.push(message.bytes.to_vec());
            }
            position += frame.aligned_length() as i64;
        }
        Ok(())
    }
}

impl Member {
    pub(crate) fn new(id: i32, address: SocketAddr) -> Self {
        Self {
            id,
            address,
            is_running: true,
            endpoint: ingress_endpoint(i64::from(id) + 1),
            inbox: Inbox::default(),
            answers: Vec::new(),
            next_stream_session_id: id * 1000,
        }
    }

    /// All that a process has is gone.
    pub(crate) fn kill(&mut self) {
        self.is_running = false;
    }

    /// Begins anew at the same address.
    pub(crate) fn restart(&mut self, receiver_id: i64) {
        self.is_running = true;
        self.endpoint = ingress_endpoint(receiver_id);
        self.inbox = Inbox::default();
        self.answers.clear();
    }

    /// Sends a message to a client as soon as it listens.
    pub(crate) fn answer(&mut self, to: (SocketAddr, i32), message: Vec<u8>, now_ns: u64) {
        let index = match self.answers.iter().position(|answers| answers.to == to && !answers.is_ending) {
            Some(index) => index,
            None => {
                self.next_stream_session_id += 1;
                // What a client may send at most must fit.
                let params = PublicationParams {
                    term_length: 1024 * 1024,
                    ..PublicationParams::new(self.next_stream_session_id, to.1)
                };
                let publication = self.endpoint.add_publication(params, to.0, now_ns);
                self.answers.push(Answers { to, publication, waiting: VecDeque::new(), is_ending: false });
                self.answers.len() - 1
            }
        };
        self.answers[index].waiting.push_back(message);
    }

    /// Closes the stream to a client once all is sent.
    pub(crate) fn end_answers(&mut self, to: (SocketAddr, i32)) {
        for answers in self.answers.iter_mut().filter(|answers| answers.to == to) {
            answers.is_ending = true;
        }
    }

    /// How many streams it holds, its subscription included.
    pub(crate) fn stream_count(&self) -> usize {
        self.endpoint.stream_count()
    }

    pub(crate) fn on_datagram(&mut self, bytes: &[u8], from: SocketAddr, now_ns: u64) {
        if self.is_running {
            self.endpoint.on_datagram(bytes, from, now_ns, &mut self.inbox);
            self.take_events();
        }
    }

    pub(crate) fn take_messages(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.inbox.messages)
    }

    pub(crate) fn on_timeout(&mut self, now_ns: u64, network: &mut Network) {
        if !self.is_running {
            return;
        }
        let Self { endpoint, answers, address, .. } = self;
        for answers in answers.iter_mut() {
            while let Some(message) = answers.waiting.front() {
                if endpoint.offer(answers.publication, message).is_err() {
                    break;
                }
                answers.waiting.pop_front();
            }
        }
        answers.retain(|answers| {
            let is_over = answers.is_ending && answers.waiting.is_empty();
            if is_over {
                endpoint.close_publication(answers.publication, now_ns);
            }
            !is_over
        });
        endpoint.on_timeout(now_ns);
        endpoint.poll_transmit(now_ns, &mut |run| {
            run.datagrams().for_each(|bytes| network.send(*address, run.to, bytes, now_ns));
        });
        self.take_events();
    }

    fn take_events(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                EndpointEvent::ImageAvailable { key, .. } => {
                    self.inbox.assemblers.push((key, FragmentAssembler::new(1024 * 1024)));
                }
                EndpointEvent::ImageUnavailable { key, .. } => {
                    self.inbox.assemblers.retain(|(known, _)| *known != key);
                }
                EndpointEvent::PublicationRejected { .. } => {}
            }
        }
    }
}

fn ingress_endpoint(receiver_id: i64) -> Endpoint {
    let mut endpoint = Endpoint::new(receiver_id);
    endpoint.add_subscription(SubscriptionParams::new(INGRESS_STREAM_ID));
    endpoint
}
