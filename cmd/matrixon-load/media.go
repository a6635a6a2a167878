package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/sync/errgroup"
)

// media makes a request to the content repository. The caller reads the answer, and closes it.
func (c *client) media(ctx context.Context, method, path, contentType string, body io.Reader, size int64) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.url+"/_matrix"+path, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	if body != nil {
		r.Header.Set("Content-Type", contentType)
		r.ContentLength = size
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		return nil, errors.Join(fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, raw), err)
	}
	return resp, nil
}

// upload gives the server and media id of what it uploads, as in the paths to get it: example.org/abc.
func (c *client) upload(ctx context.Context, contentType string, body io.Reader, size int64) (string, error) {
	resp, err := c.media(ctx, http.MethodPost, "/media/v3/upload", contentType, body, size)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var answer struct {
		URI string `json:"content_uri"`
	}
	err = json.UnmarshalRead(resp.Body, &answer)
	return strings.TrimPrefix(answer.URI, "mxc://"), err
}

// thumbnails measures how fast thumbnails are made of pictures as telephones take them, and what memory that takes.
func thumbnails(ctx context.Context, o *options, s *server) error {
	const asking = 16
	user, err := register(ctx, s)
	if err != nil {
		return err
	}
	photo, err := takePhoto()
	if err != nil {
		return err
	}
	names := make([]string, o.Pictures)
	for i := range names {
		own := marked(photo, uint32(i))
		if names[i], err = user.upload(ctx, "image/jpeg", bytes.NewReader(own), int64(len(own))); err != nil {
			return err
		}
	}
	_, own, err := s.rss()
	if err != nil {
		return err
	}
	if err := s.forgetPeak(); err != nil {
		return err
	}
	var taken latencies
	var bytesGot atomic.Int64
	used, err := s.profiled(ctx, o, func() error {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(asking)
		for _, name := range names {
			g.Go(func() error {
				return taken.of(func() error {
					n, err := user.thumbnail(ctx, name)
					bytesGot.Add(n)
					return err
				})
			})
		}
		return g.Wait()
	})
	if err != nil {
		return err
	}
	peak, err := s.peak()
	if err != nil {
		return err
	}
	report("thumbnails of 800 × 600", "%.1f/s, of %.2f MB and %d × %d pixels, %d at once, %.0f kB each",
		used.rate(o.Pictures), float64(len(photo))/1e6, photoWidth, photoHeight, asking, float64(bytesGot.Load())/1000/float64(o.Pictures))
	taken.print("time to a thumbnail")
	used.each(o.Pictures)
	report("most memory", "%.0f MB, before %.0f MB without the program's file", float64(peak)/1e6, float64(own)/1e6)
	return nil
}

// thumbnail gets a thumbnail and gives its size.
func (c *client) thumbnail(ctx context.Context, name string) (int64, error) {
	resp, err := c.media(ctx, http.MethodGet, "/client/v1/media/thumbnail/"+name+"?width=800&height=600", "", nil, 0)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return io.Copy(io.Discard, resp.Body)
}

const photoWidth, photoHeight = 2016, 1512

// takePhoto makes a JPEG of about 1 MB with smooth parts, edges and noise.
func takePhoto() ([]byte, error) {
	img := image.NewYCbCr(image.Rect(0, 0, photoWidth, photoHeight), image.YCbCrSubsampleRatio420)
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same picture each time
	for y := range photoHeight {
		for x := range photoWidth {
			light := 128 + 60*math.Sin(float64(x)/90)*math.Cos(float64(y)/70) + 20*float64((x/50+y/50)%2) + rng.NormFloat64()*9
			img.Y[img.YOffset(x, y)] = uint8(min(max(light, 0), 255))
			if x%2+y%2 == 0 {
				c := color.YCbCr{Cb: uint8(128 + 40*math.Sin(float64(x)/200)), Cr: uint8(128 + 40*math.Cos(float64(y)/150))}
				img.Cb[img.COffset(x, y)], img.Cr[img.COffset(x, y)] = c.Cb, c.Cr
			}
		}
	}
	var out bytes.Buffer
	err := jpeg.Encode(&out, img, &jpeg.Options{Quality: 86})
	return out.Bytes(), err
}

// marked is a copy of the JPEG with a comment, so that no two are the same file.
func marked(photo []byte, n uint32) []byte {
	comment := binary.BigEndian.AppendUint32([]byte{0xff, 0xfe, 0, 6}, n)
	return bytes.Join([][]byte{photo[:2], comment, photo[2:]}, nil)
}

// files measures the upload and the download of one large file, and that they take no memory.
func files(ctx context.Context, o *options, s *server) error {
	user, err := register(ctx, s)
	if err != nil {
		return err
	}
	size := o.File << 20
	_, own, err := s.rss()
	if err != nil {
		return err
	}
	if err := s.forgetPeak(); err != nil {
		return err
	}
	sent := sha256.New()
	begun := time.Now()
	name, err := user.upload(ctx, "application/octet-stream", io.TeeReader(io.LimitReader(&stream{rng: rand.NewChaCha8([32]byte{1})}, size), sent), size)
	if err != nil {
		return err
	}
	if err := s.transferred("upload", size, time.Since(begun)); err != nil {
		return err
	}
	begun = time.Now()
	got, err := user.download(ctx, name, size)
	if err != nil {
		return err
	}
	if err := s.transferred("download", size, time.Since(begun)); err != nil {
		return err
	}
	report("memory before", "%.0f MB without the program's file", float64(own)/1e6)
	if !bytes.Equal(got.Sum(nil), sent.Sum(nil)) {
		return errors.New("what came back is not what was sent")
	}
	return nil
}

// stream is data that cannot be compressed.
type stream struct{ rng *rand.ChaCha8 }

func (s *stream) Read(p []byte) (int, error) { return s.rng.Read(p) }

func (c *client) download(ctx context.Context, name string, size int64) (hash.Hash, error) {
	resp, err := c.media(ctx, http.MethodGet, "/client/v1/media/download/"+name, "", nil, 0)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	got := sha256.New()
	n, err := io.Copy(got, resp.Body)
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes came back of %d", n, size)
	}
	return got, err
}

// transferred prints how fast and with what memory a file went.
func (s *server) transferred(what string, size int64, took time.Duration) error {
	peak, err := s.peak()
	if err != nil {
		return err
	}
	report(fmt.Sprintf("%s of %d MiB", what, size>>20), "%.0f MB/s, most memory %.0f MB", float64(size)/1e6/took.Seconds(), float64(peak)/1e6)
	return s.forgetPeak()
}
