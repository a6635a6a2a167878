package peers

import (
	"crypto/rand"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/http/outbound"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/signing"
)

// Stranger is a homeserver that a test plays: it listens, publishes its key, and signs its requests. What else it answers the test says.
type Stranger struct {
	Name string
	Key  signing.Key
	Mux  *http.ServeMux // add handlers before they are asked for
	// Caller asks other homeservers in the stranger's name.
	Caller *outbound.Federation

	t    testing.TB
	mu   sync.Mutex
	keys http.HandlerFunc // nil: as they are
}

// AnswerKeys says how the stranger answers from now on to those who ask for its keys.
func (s *Stranger) AnswerKeys(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = h
}

// Stranger starts a stranger, which ends with the test.
func (a *Authority) Stranger(t testing.TB) *Stranger {
	t.Helper()
	seed := make([]byte, 32)
	if _, err := rand.Read(seed); err != nil {
		t.Fatal(err)
	}
	ln := listen(t)
	s := &Stranger{t: t, Name: ln.Addr().String(), Key: signing.NewKey("stranger", seed), Mux: http.NewServeMux()}
	s.Caller = outbound.NewFederation(outbound.FederationOptions{ServerName: s.Name, Key: s.Key, Now: time.Now,
		Policy: outbound.Policy{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Roots: a.Pool, UserAgent: "stranger"}})
	s.Mux.HandleFunc("GET /_matrix/key/v2/server", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		answer := s.keys
		s.mu.Unlock()
		if answer != nil {
			answer(w, r)
			return
		}
		_, _ = w.Write(s.Keys(t))
	})
	server := &http.Server{Handler: s.Mux, ReadHeaderTimeout: time.Minute, TLSConfig: &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{a.Certificate("127.0.0.1")}}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.ServeTLS(ln, "", "") // it ends when it is closed
	}()
	t.Cleanup(func() {
		s.Caller.Close()
		_ = server.Close()
		<-ended
	})
	return s
}

// names are those that strangers had. A port is given out again soon after it is closed, and who knew the stranger that had it before would
// take the next one's signatures for forged.
var names sync.Map

// listen listens on a port that no stranger had before.
func listen(t testing.TB) net.Listener {
	t.Helper()
	for {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if _, had := names.LoadOrStore(ln.Addr().String(), true); !had {
			return ln
		}
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Keys is what the stranger publishes about its key.
func (s *Stranger) Keys(t testing.TB) []byte {
	raw, err := json.Marshal(map[string]any{"server_name": s.Name, "valid_until_ts": time.Now().Add(time.Hour).UnixMilli(),
		"verify_keys": map[string]any{s.Key.ID: map[string]string{"key": signing.EncodeBase64(s.Key.Public())}}, "old_verify_keys": map[string]any{}})
	if err == nil {
		raw, err = signing.SignJSON(raw, s.Name, s.Key)
	}
	if err != nil {
		t.Error(err)
	}
	return raw
}

// Ask makes a signed request, with a body unless it is nil.
func (s *Stranger) Ask(to *Server, method, uri string, body any) (gjson.Result, error) {
	r := federation.Request{Destination: to.Name, Method: method, URI: uri}
	if body != nil {
		var err error
		if r.Body, err = json.Marshal(body); err != nil {
			s.t.Fatal(err)
		}
	}
	answer, err := s.Caller.Call(s.t.Context(), r)
	return gjson.ParseBytes(answer), err
}

// Handshake joins a user of the stranger into a room of a real server, and gives the join and what send_join answers.
func (s *Stranger) Handshake(to *Server, roomID, userID string, version *roomversion.Version) (join *event.Event, answer gjson.Result) {
	s.t.Helper()
	must := func(method, uri string, body any) gjson.Result {
		s.t.Helper()
		answer, err := s.Ask(to, method, "/_matrix/federation/"+uri, body)
		if err != nil {
			s.t.Fatal(err)
		}
		return answer
	}
	template := must(http.MethodGet, "v1/make_join/"+url.PathEscape(roomID)+"/"+url.PathEscape(userID)+"?ver="+version.ID, nil).Get("event")
	ids := func(name string) (ids []string) {
		for _, cited := range template.Get(name).Array() {
			if cited.IsArray() {
				cited = cited.Get("0")
			}
			ids = append(ids, cited.Str)
		}
		return ids
	}
	join, err := event.Build(event.Proto{Type: "m.room.member", StateKey: &userID, Sender: userID, RoomID: roomID, Content: []byte(template.Get("content").Raw),
		PrevEvents: ids("prev_events"), AuthEvents: ids("auth_events"), Depth: template.Get("depth").Int(), OriginServerTS: time.Now().UnixMilli(), EventIDRandom: random()},
		version, s.Name, s.Key)
	if err != nil {
		s.t.Fatal(err)
	}
	return join, must(http.MethodPut, "v2/send_join/"+url.PathEscape(roomID)+"/"+url.PathEscape(join.ID()), jsontext.Value(join.JSON()))
}
