package media

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// server is another homeserver: what it answers to each path, up to the query.
type server map[string]struct {
	kind, body string
	err        error
}

// Call implements federation.Caller.
func (server) Call(context.Context, federation.Request) (jsontext.Value, error) {
	return nil, errors.New("media is opened")
}

// Open implements federation.Caller.
func (s server) Open(_ context.Context, r federation.Request) (io.ReadCloser, string, error) {
	path, _, _ := strings.Cut(r.URI, "?")
	answer, ok := s[path]
	if !ok {
		return nil, "", &federation.Error{Destination: r.Destination, Status: 404, Code: "M_UNRECOGNIZED"}
	}
	return io.NopCloser(strings.NewReader(answer.body)), answer.kind, answer.err
}

const (
	mixed   = `multipart/mixed; boundary=b`
	newPath = "/_matrix/federation/v1/media/download/abc"
	oldPath = "/_matrix/media/v3/download/remote/abc"
	about   = "--b\r\nContent-Type: application/json\r\n\r\n{}\r\n"
)

func fetchFrom(t *testing.T, s server, web *http.Client) (*RemoteFile, string, error) {
	t.Helper()
	o := &Origin{Caller: s, Web: web, MaxSize: 1000}
	file, err := o.Fetch(t.Context(), "remote", "abc", time.Second)
	if err != nil {
		return nil, "", err
	}
	raw, err := io.ReadAll(file.Body)
	return file, string(raw), errors.Join(err, file.Body.Close())
}

func TestMediaOfOtherServers(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]server{
		"the second part":  {newPath: {mixed, about + "--b\r\nContent-Type: text/plain\r\nContent-Disposition: attachment; filename*=utf-8''%C3%A4.txt\r\n\r\nhello\r\n--b--\r\n", nil}},
		"of an old server": {oldPath: {"text/plain", "hello", nil}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file, content, err := fetchFrom(t, s, http.DefaultClient)
			if err != nil || content != "hello" || file.Type != "text/plain" || file.Size != -1 {
				t.Fatalf("%v %q %v", file, content, err)
			}
			if name == "the second part" && (file.Filename == nil || *file.Filename != "ä.txt") {
				t.Errorf("%v", file.Filename)
			}
		})
	}
}

func TestMediaThatLiesElsewhere(t *testing.T) {
	t.Parallel()
	bucket := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/good" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "image/png")
		_, _ = io.WriteString(w, "a picture")
	}))
	defer bucket.Close()
	at := func(location string) server {
		return server{newPath: {mixed, about + "--b\r\nLocation: " + location + "\r\n\r\n\r\n--b--\r\n", nil}}
	}
	file, content, err := fetchFrom(t, at(bucket.URL+"/good"), bucket.Client())
	if err != nil || content != "a picture" || file.Type != "image/png" || file.Size != 9 {
		t.Errorf("%v %q %v", file, content, err)
	}
	for _, location := range []string{bucket.URL + "/gone", strings.Replace(bucket.URL, "https", "http", 1) + "/good", "file:///etc/passwd", "::"} {
		if _, content, err := fetchFrom(t, at(location), bucket.Client()); err == nil {
			t.Errorf("%s: %q", location, content)
		}
	}
}

func TestMediaThatIsNotGiven(t *testing.T) {
	t.Parallel()
	refused := func(status int, code string) server {
		return server{newPath: {err: &federation.Error{Destination: "remote", Status: status, Code: code}}}
	}
	for name, c := range map[string]struct {
		s      server
		status int // 0: an error that is no *mxerr.Error
		code   string
	}{
		"unknown":                     {refused(404, "M_NOT_FOUND"), 404, "M_NOT_FOUND"},
		"unknown to an old server":    {server{oldPath: {err: &federation.Error{Destination: "remote", Status: 404, Code: "M_NOT_FOUND"}}}, 404, "M_NOT_FOUND"},
		"not uploaded yet":            {refused(504, "M_NOT_YET_UPLOADED"), 504, "M_NOT_YET_UPLOADED"},
		"too large":                   {refused(502, "M_TOO_LARGE"), 502, "M_TOO_LARGE"},
		"forbidden":                   {refused(403, "M_FORBIDDEN"), 0, ""},
		"down":                        {server{newPath: {err: federation.Unreachable(errors.New("it is down"))}}, 0, ""},
		"another type":                {server{newPath: {"text/html", "<html>", nil}}, 0, ""},
		"without a boundary":          {server{newPath: {"multipart/mixed", "", nil}}, 0, ""},
		"one part only":               {server{newPath: {mixed, about + "--b--\r\n", nil}}, 0, ""},
		"broken off before the media": {server{newPath: {mixed, about, nil}}, 0, ""},
		"broken off within it":        {server{newPath: {mixed, about + "--b\r\n\r\nhel", nil}}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, content, err := fetchFrom(t, c.s, http.DefaultClient)
			if err == nil {
				t.Fatalf("%q", content)
			}
			var own *mxerr.Error
			if errors.As(err, &own) != (c.status != 0) || own != nil && (own.Status != c.status || own.Code != c.code) {
				t.Error(err)
			}
		})
	}
}
