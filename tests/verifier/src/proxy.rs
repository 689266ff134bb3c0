//! The network between one worker and the brokers: a gate that passes requests and answers on, holds them, or cuts.
//!
//! Each worker has a gate of its own, with a port for each broker. A gate reads of a request only what every one begins
//! with: its length and what it asks for (its API key).

use std::collections::BTreeMap;
use std::io::{Read, Result, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use naru_tests::loopback::{Proxied, free_port};

/// Largest request that is passed on, bytes: the brokers take no larger one.
const LARGEST: usize = 100 << 20;

/// What a worker asks for on the way through a transaction, in this order, as the protocol numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    AddPartitionsToTxn = 24,
    Produce = 0,
    AddOffsetsToTxn = 25,
    TxnOffsetCommit = 28,
    EndTxn = 26,
    JoinGroup = 11,
    InitProducerId = 22,
}

/// Where a gate holds everything by itself.
#[derive(Clone, Copy, Debug)]
pub struct Trap {
    pub request: Request,
    /// The request still passes: only its answer is held.
    pub after: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Open,
    Held,
    Cut,
}

/// All connections between one worker and the brokers.
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// By broker.
    modes: Vec<Mode>,
    trap: Option<Trap>,
    has_sprung: bool,
    /// How many requests passed, by API key.
    passed: BTreeMap<i16, u64>,
    /// Both ends of each connection, with its broker.
    connections: BTreeMap<u64, (usize, [TcpStream; 2])>,
    next: u64,
}

impl Gate {
    /// An open gate to as many brokers, and for each where it is to listen for the gate and what it is to say.
    pub fn new(brokers: usize) -> Result<(Arc<Self>, Vec<Proxied>)> {
        let gate = Arc::new(Self {
            state: Mutex::new(State {
                modes: vec![Mode::Open; brokers],
                trap: None,
                has_sprung: false,
                passed: BTreeMap::new(),
                connections: BTreeMap::new(),
                next: 0,
            }),
            changed: Condvar::new(),
        });
        let listen = |broker| {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let (port, proxy) = (free_port(), listener.local_addr()?.port());
            let gate = Arc::clone(&gate);
            std::thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    // A broker that is down refuses, and so does the gate.
                    let _ = gate.connect(broker, client, port);
                }
            });
            Ok(Proxied { port, proxy })
        };
        let listeners = (0..brokers).map(listen).collect::<Result<_>>()?;
        Ok((gate, listeners))
    }

    /// Everything passes, and what was held goes on to where it was on the way to.
    pub fn open(&self) {
        self.set(Mode::Open, None);
    }

    /// Nothing passes, and nobody is told: to or from this broker, or any.
    pub fn hold(&self, broker: Option<usize>) {
        self.set(Mode::Held, broker);
    }

    /// Every connection is reset, and new ones are refused. What was held is lost.
    pub fn cut(&self, broker: Option<usize>) {
        self.set(Mode::Cut, broker);
        let mut state = self.lock();
        state.connections.retain(|_, (to, ends)| {
            let is_cut = broker.is_none_or(|broker| broker == *to);
            if is_cut {
                ends.iter().for_each(|end| drop(end.shutdown(Shutdown::Both)));
            }
            !is_cut
        });
    }

    /// Holds everything as soon as the worker asks for this. See [`Self::has_sprung`].
    pub fn set_trap(&self, trap: Trap) {
        let mut state = self.lock();
        state.trap = Some(trap);
        state.has_sprung = false;
    }

    pub fn has_sprung(&self) -> bool {
        self.lock().has_sprung
    }

    /// How many requests of these kinds have passed so far.
    pub fn passed(&self, requests: &[Request]) -> u64 {
        let state = self.lock();
        let passed = requests
            .iter()
            .filter_map(|request| state.passed.get(&(*request as i16)));
        passed.sum()
    }

    fn set(&self, mode: Mode, broker: Option<usize>) {
        let mut state = self.lock();
        for (index, found) in state.modes.iter_mut().enumerate() {
            if broker.is_none_or(|broker| broker == index) {
                *found = mode;
            }
        }
        state.trap = None;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something may pass. False: the connection is cut.
    fn admits(&self, broker: usize) -> bool {
        let state = self.lock();
        let held = |state: &mut State| state.modes[broker] == Mode::Held;
        let state = self
            .changed
            .wait_while(state, held)
            .unwrap_or_else(PoisonError::into_inner);
        state.modes[broker] == Mode::Open
    }

    /// The same for a request, which may spring the trap.
    fn admits_request(&self, broker: usize, key: i16) -> bool {
        let trapped = {
            let mut state = self.lock();
            let trap = state.trap.filter(|trap| trap.request as i16 == key);
            if trap.is_some() {
                state.trap = None;
                state.has_sprung = true;
                state.modes.fill(Mode::Held);
            }
            trap
        };
        let passes = trapped.is_some_and(|trap| trap.after) || self.admits(broker);
        if passes {
            *self.lock().passed.entry(key).or_default() += 1;
        }
        passes
    }

    fn connect(self: &Arc<Self>, broker: usize, client: TcpStream, port: u16) -> Result<()> {
        if self.lock().modes[broker] == Mode::Cut {
            return Ok(());
        }
        let server = TcpStream::connect(("127.0.0.1", port))?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let number = {
            let mut state = self.lock();
            state.next += 1;
            let number = state.next;
            let ends = [client.try_clone()?, server.try_clone()?];
            state.connections.insert(number, (broker, ends));
            number
        };
        let (gate, from, to) = (Arc::clone(self), client.try_clone()?, server.try_clone()?);
        std::thread::spawn(move || {
            let _ = gate.requests(broker, &from, &to);
            gate.disconnect(number);
        });
        let gate = Arc::clone(self);
        std::thread::spawn(move || {
            let _ = gate.answers(broker, &server, &client);
            gate.disconnect(number);
        });
        Ok(())
    }

    fn requests(&self, broker: usize, mut from: &TcpStream, mut to: &TcpStream) -> Result<()> {
        let mut frame = Vec::new();
        loop {
            let mut length = [0; 4];
            from.read_exact(&mut length)?;
            let size = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            if !(2..=LARGEST).contains(&size) {
                return Ok(());
            }
            frame.clear();
            frame.extend_from_slice(&length);
            frame.resize(4 + size, 0);
            from.read_exact(&mut frame[4..])?;
            if !self.admits_request(broker, i16::from_be_bytes([frame[4], frame[5]])) {
                return Ok(());
            }
            to.write_all(&frame)?;
        }
    }

    fn answers(&self, broker: usize, mut from: &TcpStream, mut to: &TcpStream) -> Result<()> {
        let mut bytes = vec![0; 1 << 16];
        loop {
            let count = from.read(&mut bytes)?;
            if count == 0 || !self.admits(broker) {
                return Ok(());
            }
            to.write_all(&bytes[..count])?;
        }
    }

    fn disconnect(&self, number: u64) {
        if let Some((_, ends)) = self.lock().connections.remove(&number) {
            ends.iter().for_each(|end| drop(end.shutdown(Shutdown::Both)));
        }
    }
}
