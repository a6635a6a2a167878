// Package bucket keeps objects in a bucket of an S3-compatible storage.
package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/matrixon/matrixon/persistence/blobs"
)

// Options say where the bucket is and who we are there.
type Options struct {
	Endpoint             string // a URL, http or https
	Region               string // empty: as the storage says
	Bucket               string // must be there
	Prefix               string // of all names
	AccessKey, SecretKey string // empty: anonymous
}

// partSize is how much of an object is held in memory when its size is not known before, or is beyond what one request takes.
const partSize = 16 << 20

// wholeLimit is the largest object that S3 takes in one request, in bytes.
const wholeLimit = 5 << 30

// Store is a bucket of objects.
type Store struct {
	core           minio.Core
	bucket, prefix string
}

// Open checks that the bucket is there.
func Open(ctx context.Context, o Options) (*Store, error) {
	u, err := url.Parse(o.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not the URL of a storage", o.Endpoint)
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4(o.AccessKey, o.SecretKey, ""), Secure: u.Scheme == "https", Region: o.Region})
	if err != nil {
		return nil, err
	}
	switch there, err := client.BucketExists(ctx, o.Bucket); {
	case err != nil:
		return nil, fmt.Errorf("bucket %s at %s: %w", o.Bucket, o.Endpoint, err)
	case !there:
		return nil, fmt.Errorf("there is no bucket %s at %s", o.Bucket, o.Endpoint)
	}
	return &Store{minio.Core{Client: client}, o.Bucket, o.Prefix}, nil
}

func (s *Store) key(name string) (string, error) { return s.prefix + name, blobs.CheckName(name) }

// missing turns the storage's word for it into ours.
func missing(err error) error {
	var answer minio.ErrorResponse
	if errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound {
		return blobs.ErrNotFound
	}
	return err
}

// Put implements blobs.Store.
func (s *Store) Put(ctx context.Context, name string, r io.Reader, size int64) error {
	key, err := s.key(name)
	if err != nil {
		return err
	}
	in := &remembered{r: blobs.Counted(r, size)}
	o := minio.PutObjectOptions{ContentType: "application/octet-stream", PartSize: partSize, DisableMultipart: size >= 0 && size <= wholeLimit}
	if _, err = s.core.Client.PutObject(ctx, s.bucket, key, in, size, o); err == nil && in.err == nil && !in.ended {
		// The storage takes as many bytes as were announced, and does not ask whether there are more.
		if _, more := io.Copy(io.Discard, in); more != nil {
			return errors.Join(in.err, s.Delete(context.WithoutCancel(ctx), name))
		}
	}
	if in.err != nil { // the reader's own, whatever the client has made of it
		return in.err
	}
	return err
}

// remembered knows how the reading ended.
type remembered struct {
	r     io.Reader
	ended bool
	err   error
}

// errUnread is what the client sees of an error of the reader. It would take io.ErrUnexpectedEOF for the end.
var errUnread = errors.New("bucket: the content could not be read")

// Read implements io.Reader.
func (r *remembered) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		r.ended = true
	case err != nil:
		r.err = err
		return n, errUnread
	}
	return n, err
}

// Open implements blobs.Store.
func (s *Store) Open(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	key, err := s.key(name)
	if err != nil {
		return nil, err
	}
	var o minio.GetObjectOptions
	if offset > 0 {
		if err := o.SetRange(offset, 0); err != nil {
			return nil, err
		}
	}
	r, _, _, err := s.core.GetObject(ctx, s.bucket, key, o)
	var answer minio.ErrorResponse
	if errors.As(err, &answer) && answer.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return s.end(ctx, name, offset, err)
	}
	return r, missing(err)
}

// end is what is left of an object from its end on, of which the storage gives no part.
func (s *Store) end(ctx context.Context, name string, offset int64, refusal error) (io.ReadCloser, error) {
	info, err := s.Stat(ctx, name)
	if err != nil {
		return nil, err
	}
	if offset != info.Size {
		return nil, refusal
	}
	return http.NoBody, nil
}

// Stat implements blobs.Store.
func (s *Store) Stat(ctx context.Context, name string) (blobs.Info, error) {
	key, err := s.key(name)
	if err != nil {
		return blobs.Info{}, err
	}
	o, err := s.core.Client.StatObject(ctx, s.bucket, key, minio.StatObjectOptions{})
	if err != nil {
		return blobs.Info{}, missing(err)
	}
	return blobs.Info{Name: name, Size: o.Size, Stored: o.LastModified}, nil
}

// Delete implements blobs.Store.
func (s *Store) Delete(ctx context.Context, name string) error {
	key, err := s.key(name)
	if err != nil {
		return err
	}
	if err := missing(s.core.Client.RemoveObject(ctx, s.bucket, key, minio.RemoveObjectOptions{})); !errors.Is(err, blobs.ErrNotFound) {
		return err
	}
	return nil
}

// List implements blobs.Store.
func (s *Store) List(ctx context.Context) iter.Seq2[blobs.Info, error] {
	return func(yield func(blobs.Info, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		for o := range s.core.Client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix, Recursive: true}) {
			if o.Err != nil {
				yield(blobs.Info{}, o.Err)
				return
			}
			name := strings.TrimPrefix(o.Key, s.prefix)
			if blobs.CheckName(name) != nil { // somebody else's
				continue
			}
			if !yield(blobs.Info{Name: name, Size: o.Size, Stored: o.LastModified}, nil) {
				return
			}
		}
	}
}

// URL implements blobs.Presenter.
func (s *Store) URL(ctx context.Context, name string, p blobs.Presentation) (string, error) {
	key, err := s.key(name)
	if err != nil {
		return "", err
	}
	u, err := s.core.Client.PresignedGetObject(ctx, s.bucket, key, p.Lifetime, url.Values{
		"response-content-type": {p.ContentType}, "response-content-disposition": {p.ContentDisposition}})
	if err != nil {
		return "", err
	}
	return u.String(), nil
}
