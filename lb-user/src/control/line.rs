//! One line, and no more than so many bytes of it.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// Reads up to a newline, which is not returned; `None` at the end of the stream.
///
/// # Errors
/// The stream's, or `InvalidData` for a line longer than `most` bytes.
pub async fn read_line(stream: &mut (impl AsyncBufRead + Unpin), most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    // One more for the newline.
    let read = stream.take(most as u64 + 1).read_until(b'\n', &mut line).await?;
    match line.pop() {
        Some(b'\n') => Ok(Some(line)),
        Some(_) if read > most => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("a line of more than {most} bytes")))
        }
        Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_have_an_end_and_a_limit() {
        let mut stream: &[u8] = b"ab\n\nabc\nabcd\n";
        assert_eq!(read_line(&mut stream, 3).await.expect("a line"), Some(b"ab".to_vec()));
        assert_eq!(read_line(&mut stream, 3).await.expect("a line"), Some(Vec::new()));
        assert_eq!(read_line(&mut stream, 3).await.expect("a line"), Some(b"abc".to_vec()));
        assert_eq!(read_line(&mut stream, 3).await.expect_err("too long").kind(), io::ErrorKind::InvalidData);
        assert_eq!(read_line(&mut &b""[..], 3).await.expect("the end"), None);
        assert_eq!(read_line(&mut &b"ab"[..], 3).await.expect_err("cut").kind(), io::ErrorKind::UnexpectedEof);
    }
}
