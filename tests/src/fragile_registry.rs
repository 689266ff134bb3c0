//! A schema registry that starts at once, and can be made to fail: the real one cannot be taken away and given back on
//! the same port.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "a module of tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Clone)]
pub struct FragileRegistry {
    port: u16,
    is_down: Arc<AtomicBool>,
    /// Schemas with this in them are not handed out.
    kept_back: Arc<Mutex<Option<&'static str>>>,
    /// The schema with id 1 is the first.
    schemas: Arc<Mutex<Vec<String>>>,
}

impl FragileRegistry {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let registry = Self {
            port,
            is_down: Arc::default(),
            kept_back: Arc::default(),
            schemas: Arc::default(),
        };
        let server = registry.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || server.answer(&stream));
            }
        });
        registry
    }

    pub fn contract(&self) -> naru_contract::Registry {
        naru_contract::Registry {
            url: format!("http://127.0.0.1:{}", self.port),
        }
    }

    pub fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }

    /// Whoever asks for a schema with this in it has to ask again.
    pub fn keep_back(&self, part: Option<&'static str>) {
        *self.kept_back.lock().unwrap() = part;
    }

    fn answer(&self, mut stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        let mut request = String::new();
        reader.read_line(&mut request).unwrap_or_default();
        let mut length = 0;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or_default() <= 2 {
                break;
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or_default();
            }
        }
        let mut body = vec![0; length];
        let _ = reader.read_exact(&mut body);
        let (status, answer) = self.decide(&request, &body);
        let length = answer.len();
        let _ = write!(
            stream,
            "HTTP/1.1 {status} -\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}"
        );
    }

    fn decide(&self, request: &str, body: &[u8]) -> (u16, String) {
        if self.is_down.load(Ordering::SeqCst) {
            return (503, "down for the test".to_owned());
        }
        let mut schemas = self.schemas.lock().unwrap();
        if request.starts_with("POST") {
            let body: serde_json::Value = serde_json::from_slice(body).unwrap();
            let schema = body["schema"].as_str().unwrap().to_owned();
            let index = schemas
                .iter()
                .position(|known| *known == schema)
                .unwrap_or_else(|| {
                    schemas.push(schema);
                    schemas.len() - 1
                });
            return (200, serde_json::json!({ "id": index + 1 }).to_string());
        }
        let path = request.split(' ').nth(1).unwrap_or_default();
        let id = path
            .rsplit('/')
            .next()
            .and_then(|id| id.parse::<usize>().ok())
            .unwrap_or_default();
        match id.checked_sub(1).and_then(|index| schemas.get(index)) {
            Some(schema) if self.is_kept_back(schema) => (503, "kept back for the test".to_owned()),
            Some(schema) => (200, serde_json::json!({ "schema": schema }).to_string()),
            None => (
                404,
                serde_json::json!({ "error_code": 40403, "message": "no schema" }).to_string(),
            ),
        }
    }

    fn is_kept_back(&self, schema: &str) -> bool {
        let kept_back = self.kept_back.lock().unwrap();
        kept_back.is_some_and(|part| schema.contains(part))
    }
}
