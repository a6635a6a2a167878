package blobs

import (
	"context"
	"errors"
	"io"
)

// Seeker reads an object from wherever one seeks to. It opens the object when it is first read.
type Seeker struct {
	ctx   context.Context //nolint:containedctx // it lives as long as one request
	store Store
	name  string
	size  int64

	offset int64
	open   io.ReadCloser // at the offset, or nil
}

// NewSeeker reads the object of that size. It must be closed.
func NewSeeker(ctx context.Context, s Store, name string, size int64) *Seeker {
	return &Seeker{ctx: ctx, store: s, name: name, size: size}
}

// Read implements io.Reader.
func (s *Seeker) Read(p []byte) (int, error) {
	if s.offset >= s.size {
		return 0, io.EOF
	}
	if s.open == nil {
		var err error
		if s.open, err = s.store.Open(s.ctx, s.name, s.offset); err != nil {
			return 0, err
		}
	}
	n, err := s.open.Read(p)
	s.offset += int64(n)
	if errors.Is(err, io.EOF) && s.offset < s.size {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Seek implements io.Seeker.
func (s *Seeker) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.offset
	case io.SeekEnd:
		offset += s.size
	}
	if offset < 0 {
		return 0, errors.New("blobs: seek before the beginning")
	}
	if offset == s.offset {
		return offset, nil
	}
	err := s.Close()
	s.offset = offset
	return offset, err
}

// Close ends the reading.
func (s *Seeker) Close() error {
	if s.open == nil {
		return nil
	}
	err := s.open.Close()
	s.open = nil
	return err
}
