// Package blobs is the contract of what keeps large immutable objects, such as the files that users send: a folder, a
// bucket of an S3-compatible storage, or rows of the database. Objects stream in and out; none is ever held in memory.
//
// The contract, which blobstest checks on every store:
//
//   - An object is there whole, or not at all: a Put that fails, or whose process dies, leaves nothing that can be opened.
//   - When Put has returned, the object is durable, and every node that shares the store can open it.
//   - Names are used once. Writers choose a new one for every object, so that no two writers meet.
package blobs

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// ErrNotFound says that there is no object with this name.
var ErrNotFound = errors.New("blobs: there is no such object")

// Info describes an object.
type Info struct {
	Name   string
	Size   int64 // bytes; -1 for what a writer that died has left behind, which can only be deleted
	Stored time.Time
}

// Store keeps objects.
type Store interface {
	// Put stores what r gives until io.EOF. The size is how many bytes that will be, or -1 when it is not known; another
	// number of bytes is an error. Whatever error r gives is returned as it is.
	Put(ctx context.Context, name string, r io.Reader, size int64) error
	// Open reads an object from the offset, which lies within it. ErrNotFound when it is not there.
	Open(ctx context.Context, name string, offset int64) (io.ReadCloser, error)
	// Stat describes an object. ErrNotFound when it is not there.
	Stat(ctx context.Context, name string) (Info, error)
	// Delete removes an object; it is no error when there is none.
	Delete(ctx context.Context, name string) error
	// List gives all objects, in no order. It stops at the first error, which it yields.
	List(ctx context.Context) iter.Seq2[Info, error]
}

// Presenter is a Store that can be asked for an object by others, through a URL that is good for a while.
type Presenter interface {
	// URL gives an address where anyone gets the object with these headers, until it expires.
	URL(ctx context.Context, name string, p Presentation) (string, error)
}

// Presentation is how an object is to be shown at its URL.
type Presentation struct {
	ContentType, ContentDisposition string
	Lifetime                        time.Duration
}

// The bounds of names.
const (
	minName = 8
	maxName = 120
)

// CheckName refuses names that are not made of a-z, 0-9, '.', '_' and '-' alone, beginning with four of a-z and 0-9. They are
// names of files on every system, and say nothing about another folder.
func CheckName(name string) error {
	if len(name) < minName || len(name) > maxName {
		return errors.New("blobs: a name has from 8 to 120 characters")
	}
	for i, c := range []byte(name) {
		word := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !word && (i < 4 || c != '.' && c != '_' && c != '-') {
			return errors.New("blobs: a name consists of a-z, 0-9, '.', '_' and '-'")
		}
	}
	return nil
}

// Counted fails at the end of r unless exactly size bytes came; a negative size is any number.
func Counted(r io.Reader, size int64) io.Reader {
	if size < 0 {
		return r
	}
	return &counted{r, size}
}

type counted struct {
	r    io.Reader
	left int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.left -= int64(n)
	switch {
	case c.left < 0:
		return n, errors.New("blobs: there are more bytes than were announced")
	case errors.Is(err, io.EOF) && c.left > 0:
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}
