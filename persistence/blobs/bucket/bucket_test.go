package bucket_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/matrixon/matrixon/deploy/local"
	"github.com/matrixon/matrixon/persistence/blobs"
	"github.com/matrixon/matrixon/persistence/blobs/blobstest"
	"github.com/matrixon/matrixon/persistence/blobs/bucket"
)

// server starts a real S3 server that ends with the test.
func server(t *testing.T) bucket.Options {
	t.Helper()
	s, err := local.StartS3(t.Context(), t.TempDir(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return bucket.Options{Endpoint: s.URL, Bucket: s.Bucket, AccessKey: s.AccessKey, SecretKey: s.SecretKey, Prefix: "of-a-test/"}
}

func open(t *testing.T, o bucket.Options) *bucket.Store {
	t.Helper()
	s, err := bucket.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	o := server(t)
	blobstest.Run(t, open(t, o), open(t, o))
}

func TestPresentation(t *testing.T) {
	t.Parallel()
	o := server(t)
	s := open(t, o)
	if err := s.Put(t.Context(), "presented", strings.NewReader("hello"), 5); err != nil {
		t.Fatal(err)
	}
	link, err := s.URL(t.Context(), "presented", blobs.Presentation{ContentType: "text/plain", ContentDisposition: `inline; filename="a b.txt"`, Lifetime: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	get := func(link string) (*http.Response, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, link, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(body)
	}
	resp, body := get(link)
	if resp.StatusCode != http.StatusOK || body != "hello" || resp.Header.Get("Content-Type") != "text/plain" ||
		resp.Header.Get("Content-Disposition") != `inline; filename="a b.txt"` {
		t.Errorf("%s %v: %s", resp.Status, resp.Header, body)
	}
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("response-content-type", "text/html")
	u.RawQuery = query.Encode()
	if resp, _ := get(u.String()); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a link that was changed: %s", resp.Status)
	}
}

func TestOpening(t *testing.T) {
	t.Parallel()
	o := server(t)
	for name, change := range map[string]func(*bucket.Options){
		"no bucket": func(o *bucket.Options) { o.Bucket = "nowhere" },
		"no key":    func(o *bucket.Options) { o.SecretKey = "wrong" },
		"no URL":    func(o *bucket.Options) { o.Endpoint = "127.0.0.1:1" },
	} {
		wrong := o
		change(&wrong)
		if _, err := bucket.Open(t.Context(), wrong); err == nil {
			t.Errorf("%s: it was opened", name)
		}
	}
}
