package picture

import (
	"bufio"
	"encoding/binary"
	"io"
)

// maxHeader bounds how far into a picture Inspect looks, in bytes.
const maxHeader = 32 << 20

// scanner reads the structure of a picture. After the first error it gives zeros, and remembers the error.
type scanner struct {
	r   *bufio.Reader
	err error
}

func newScanner(r io.Reader) *scanner {
	return &scanner{r: bufio.NewReaderSize(io.LimitReader(r, maxHeader), 4096)}
}

func (s *scanner) bytes(n int) []byte {
	b := make([]byte, n)
	if s.err == nil {
		_, s.err = io.ReadFull(s.r, b)
	}
	return b
}

func (s *scanner) byte() byte {
	if s.err != nil {
		return 0
	}
	var b byte
	b, s.err = s.r.ReadByte()
	return b
}

func (s *scanner) skip(n int) {
	if s.err == nil {
		_, s.err = s.r.Discard(n)
	}
}

func (s *scanner) big16() int       { return int(binary.BigEndian.Uint16(s.bytes(2))) }
func (s *scanner) big32() uint32    { return binary.BigEndian.Uint32(s.bytes(4)) }
func (s *scanner) little16() int    { return int(binary.LittleEndian.Uint16(s.bytes(2))) }
func (s *scanner) little32() uint32 { return binary.LittleEndian.Uint32(s.bytes(4)) }
func (s *scanner) little24() int {
	b := s.bytes(3)
	return int(b[0]) | int(b[1])<<8 | int(b[2])<<16
}
