package api_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// sessions authenticates by the table it is.
type sessions map[string]*api.Session

func (s sessions) Authenticate(_ context.Context, token string, _ *http.Request) (*api.Session, error) {
	if found, ok := s[token]; ok {
		return found, nil
	}
	return nil, api.UnknownToken(false)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func serve(t *testing.T, o api.Options, endpoints ...api.Endpoint) *httptest.Server {
	t.Helper()
	o.Log = quiet()
	a := api.New(o)
	a.Add(api.Client, endpoints...)
	s := httptest.NewServer(a.Handler(api.Client))
	t.Cleanup(s.Close)
	return s
}

type answer struct {
	status int
	header http.Header
	body   map[string]any
	raw    string
}

func call(t *testing.T, s *httptest.Server, method, path, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, s.URL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	// The path is sent as written.
	u, query, _ := strings.Cut(path, "?")
	req.URL.Opaque = "//" + req.URL.Host + u
	req.URL.RawQuery = query
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, raw: string(raw)}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") && len(raw) > 0 {
		if err := json.Unmarshal(raw, &a.body); err != nil {
			t.Fatalf("%s %s: answer is no JSON object: %v\n%s", method, path, err, raw)
		}
	}
	return a
}

func echoVars(r *api.Request) (any, error) { return r.Vars, nil }

func TestVariablesAreUnescapedOnce(t *testing.T) {
	t.Parallel()
	s := serve(t, api.Options{}, api.Endpoint{Methods: []string{"GET"}, Path: "/_matrix/client/v3/rooms/{room}/state/{type}/{key}", R0: true, Handler: echoVars})
	tests := []struct {
		path string
		want map[string]any
	}{
		{"/_matrix/client/v3/rooms/!a:b/state/m.x/k", map[string]any{"room": "!a:b", "type": "m.x", "key": "k"}},
		{"/_matrix/client/r0/rooms/%21a%3Ab/state/m.x/k", map[string]any{"room": "!a:b", "type": "m.x", "key": "k"}},
		{"/_matrix/client/v3/rooms/r/state/t/a%2Fb%2f..%2Fc", map[string]any{"room": "r", "type": "t", "key": "a/b/../c"}},
		{"/_matrix/client/v3/rooms/r/state/t/100%25%2520", map[string]any{"room": "r", "type": "t", "key": "100%%20"}},
		{"/_matrix/client/v3/rooms/%23a:b/state/t/%F0%9F%98%80", map[string]any{"room": "#a:b", "type": "t", "key": "😀"}},
		{"/_matrix/client/v3/rooms/r/state/t/a+b%3Fc", map[string]any{"room": "r", "type": "t", "key": "a+b?c"}},
		{"/_matrix/client/v3/rooms/r/state/t/..", map[string]any{"room": "r", "type": "t", "key": ".."}},
	}
	for _, tt := range tests {
		got := call(t, s, "GET", tt.path, "")
		if got.status != 200 {
			t.Errorf("%s: status %d: %s", tt.path, got.status, got.raw)
		} else if diff := cmp.Diff(tt.want, got.body); diff != "" {
			t.Errorf("%s: %s", tt.path, diff)
		}
	}
	for _, bad := range []string{"%00", "%ff", "a%C3"} {
		if got := call(t, s, "GET", "/_matrix/client/v3/rooms/r/state/t/"+bad, ""); got.status != 400 || got.body["errcode"] != "M_INVALID_PARAM" {
			t.Errorf("%s: %d %s", bad, got.status, got.raw)
		}
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	s := serve(t, api.Options{},
		api.Endpoint{Methods: []string{"GET"}, Path: "/_matrix/client/v3/thing/{id}", Handler: echoVars},
		api.Endpoint{Methods: []string{"PUT"}, Path: "/_matrix/client/v3/thing/{id}", Handler: echoVars},
		api.Endpoint{Methods: []string{"POST"}, Path: "/_matrix/client/v3/thing", Handler: echoVars},
	)
	tests := []struct {
		method, path string
		status       int
	}{
		{"GET", "/_matrix/client/v3/thing/x", 200},
		{"HEAD", "/_matrix/client/v3/thing/x", 200},
		{"PUT", "/_matrix/client/v3/thing/x", 200},
		{"POST", "/_matrix/client/v3/thing/x", 405},
		{"GET", "/_matrix/client/v3/thing", 405},
		{"GET", "/_matrix/client/v3/thing/", 404},
		{"GET", "/_matrix/client/v3/thing/x/y", 404},
		{"GET", "/_matrix/client/v3//thing/x", 404},
		{"GET", "/_matrix/client/unstable/x", 404},
		{"GET", "/", 404},
		{"DELETE", "/nothing", 404},
	}
	for _, tt := range tests {
		got := call(t, s, tt.method, tt.path, "")
		if got.status != tt.status {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, got.status, tt.status)
		}
		if tt.status >= 400 && (got.body["errcode"] != "M_UNRECOGNIZED" || got.body["error"] == "") {
			t.Errorf("%s %s: %s", tt.method, tt.path, got.raw)
		}
		if got.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(got.header.Get("Access-Control-Allow-Headers"), "Authorization") {
			t.Errorf("%s %s: no CORS headers", tt.method, tt.path)
		}
	}
	if allow := call(t, s, "DELETE", "/_matrix/client/v3/thing/x", "").header.Get("Allow"); allow != "GET, PUT, OPTIONS" {
		t.Errorf("Allow: %q", allow)
	}
	for _, path := range []string{"/_matrix/client/v3/thing/x", "/nothing/at/all"} {
		got := call(t, s, "OPTIONS", path, "")
		if got.status != 204 || !strings.Contains(got.header.Get("Access-Control-Allow-Methods"), "DELETE") {
			t.Errorf("OPTIONS %s: %d %v", path, got.status, got.header)
		}
	}
}

func TestPanicsAndErrors(t *testing.T) {
	t.Parallel()
	fail := func(err error) api.Handler { return func(*api.Request) (any, error) { return nil, err } }
	s := serve(t, api.Options{},
		api.Endpoint{Methods: []string{"GET"}, Path: "/panic", Handler: func(*api.Request) (any, error) { panic("oh") }},
		api.Endpoint{Methods: []string{"GET"}, Path: "/error", Handler: fail(io.ErrUnexpectedEOF)},
		api.Endpoint{Methods: []string{"GET"}, Path: "/limit", Handler: fail(mxerr.LimitExceeded(1500))},
		api.Endpoint{Methods: []string{"GET"}, Path: "/empty", Handler: fail(nil)},
		api.Endpoint{Methods: []string{"GET"}, Path: "/nil", Handler: func(*api.Request) (any, error) {
			return struct {
				List []string       `json:"list"`
				Map  map[string]int `json:"map"`
			}{}, nil
		}},
		api.Endpoint{Methods: []string{"GET"}, Path: "/unmarshallable", Handler: func(*api.Request) (any, error) { return func() {}, nil }},
	)
	for _, path := range []string{"/panic", "/error", "/unmarshallable"} {
		got := call(t, s, "GET", path, "")
		if got.status != 500 || got.body["errcode"] != "M_UNKNOWN" || strings.Contains(got.raw, "oh") || strings.Contains(got.raw, "EOF") {
			t.Errorf("%s: %d %s", path, got.status, got.raw)
		}
	}
	limit := call(t, s, "GET", "/limit", "")
	if limit.status != 429 || limit.body["retry_after_ms"] != 1500.0 || limit.header.Get("Retry-After") != "2" {
		t.Errorf("limit: %d %s %v", limit.status, limit.raw, limit.header)
	}
	if got := call(t, s, "GET", "/empty", ""); got.raw != "{}" {
		t.Errorf("empty: %s", got.raw)
	}
	if got := call(t, s, "GET", "/nil", ""); got.raw != `{"list":[],"map":{}}` {
		t.Errorf("nil: %s", got.raw)
	}
}

func TestStrictJSON(t *testing.T) {
	t.Parallel()
	type body struct {
		Name   string         `json:"name"`
		Count  int            `json:"count"`
		On     bool           `json:"on"`
		List   []string       `json:"list"`
		Nested map[string]any `json:"nested"`
	}
	s := serve(t, api.Options{}, api.Endpoint{Methods: []string{"POST"}, Path: "/x", MaxBody: 4096, Handler: func(r *api.Request) (any, error) {
		var b body
		return nil, r.Decode(&b)
	}})
	deep := func(n int) string {
		return `{"nested":{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + "}}"
	}
	tests := []struct {
		name, body string
		status     int
		code, says string
	}{
		{"fine", `{"name":"a","count":3,"unknown":1.5e300}`, 200, "", ""},
		{"empty", ``, 400, "M_NOT_JSON", "empty"},
		{"spaces", `  `, 400, "M_NOT_JSON", ""},
		{"broken", `{"name":`, 400, "M_NOT_JSON", ""},
		{"garbage", `hello`, 400, "M_NOT_JSON", ""},
		{"trailing", `{} {}`, 400, "M_NOT_JSON", ""},
		{"array", `[]`, 400, "M_BAD_JSON", "object"},
		{"string", `"x"`, 400, "M_BAD_JSON", "object"},
		{"null", `null`, 400, "M_BAD_JSON", "object"},
		{"duplicate", `{"name":"a","name":"b"}`, 400, "M_BAD_JSON", "name"},
		{"duplicate unknown", `{"x":{"y":1,"y":2}}`, 400, "M_BAD_JSON", "x.y"},
		{"type of string", `{"name":7}`, 400, "M_BAD_JSON", `"name" must be a string`},
		{"type of int", `{"count":"7"}`, 400, "M_BAD_JSON", `"count" must be an integer`},
		{"fraction", `{"count":1.5}`, 400, "M_BAD_JSON", "count"},
		{"type of bool", `{"on":"yes"}`, 400, "M_BAD_JSON", "on"},
		{"type of list", `{"list":{}}`, 400, "M_BAD_JSON", "an array"},
		{"in list", `{"list":["a",1]}`, 400, "M_BAD_JSON", "list.1"},
		{"bad UTF-8", "{\"name\":\"\xff\"}", 400, "M_NOT_JSON", ""},
		{"lone surrogate", `{"name":"\ud800"}`, 400, "M_NOT_JSON", ""},
		{"depth allowed", deep(98), 200, "", ""},
		{"too deep", deep(99), 400, "M_BAD_JSON", "nested"},
		{"brackets in strings", `{"name":"` + strings.Repeat("[{", 200) + `"}`, 200, "", ""},
		{"too large", `{"name":"` + strings.Repeat("a", 5000) + `"}`, 413, "M_TOO_LARGE", ""},
	}
	for _, tt := range tests {
		got := call(t, s, "POST", "/x", tt.body)
		if got.status != tt.status || tt.code != "" && got.body["errcode"] != tt.code {
			t.Errorf("%s: %d %s", tt.name, got.status, got.raw)
			continue
		}
		if says, _ := got.body["error"].(string); !strings.Contains(says, tt.says) {
			t.Errorf("%s: says %q, not %q", tt.name, says, tt.says)
		}
	}
}

func TestCheckObjectAgreesWithDecode(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{``, `{`, `{}`, `[]`, `{"a":1,"a":2}`, `{} x`, "{\"\xff\":1}", `1`, `{"a":{"b":[1,2,{"c":null}]}}`} {
		var v map[string]any
		checked, decoded := mxCode(api.CheckObject([]byte(raw))), mxCode(api.DecodeObject([]byte(raw), &v))
		if checked != decoded {
			t.Errorf("%q: CheckObject %q, DecodeObject %q", raw, checked, decoded)
		}
	}
}

func mxCode(err error) string {
	if err == nil {
		return ""
	}
	return mxerr.From(err).Code
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	who := func(r *api.Request) (any, error) { return map[string]string{"user": r.User()}, nil }
	s := serve(t, api.Options{Auth: sessions{
		"good":      {UserID: "@a:x", DeviceID: "D"},
		"locked":    {UserID: "@l:x", Locked: true},
		"suspended": {UserID: "@s:x", Suspended: true},
		"admin":     {UserID: "@adm:x", Admin: true},
		"as":        {UserID: "@bot:x", Appservice: "irc"},
	}},
		api.Endpoint{Methods: []string{"GET", "POST"}, Path: "/user", Auth: api.User, Handler: who},
		api.Endpoint{Methods: []string{"POST"}, Path: "/always", Auth: api.User, WhileLocked: true, WhileSuspended: true, Handler: who},
		api.Endpoint{Methods: []string{"GET"}, Path: "/optional", Auth: api.Optional, Handler: who},
		api.Endpoint{Methods: []string{"GET"}, Path: "/public", Auth: api.Public, Handler: who},
		api.Endpoint{Methods: []string{"GET"}, Path: "/admin", Auth: api.Admins, Handler: who},
		api.Endpoint{Methods: []string{"GET"}, Path: "/as", Auth: api.Appservice, Handler: who},
	)
	tests := []struct {
		method, path, token string
		status              int
		code                string
	}{
		{"GET", "/user", "Bearer good", 200, ""},
		{"GET", "/user", "bearer good", 200, ""},
		{"GET", "/user?access_token=good", "", 200, ""},
		{"GET", "/user?access_token=bad", "Bearer good", 200, ""},
		{"GET", "/user?access_token=good", "Basic good", 401, "M_MISSING_TOKEN"},
		{"GET", "/user", "", 401, "M_MISSING_TOKEN"},
		{"GET", "/user", "Bearer bad", 401, "M_UNKNOWN_TOKEN"},
		{"GET", "/user", "Bearer locked", 401, "M_USER_LOCKED"},
		{"POST", "/always", "Bearer locked", 200, ""},
		{"GET", "/user", "Bearer suspended", 200, ""},
		{"POST", "/user", "Bearer suspended", 403, "M_USER_SUSPENDED"},
		{"POST", "/always", "Bearer suspended", 200, ""},
		{"GET", "/optional", "", 200, ""},
		{"GET", "/optional", "Bearer good", 200, ""},
		{"GET", "/optional", "Bearer bad", 401, "M_UNKNOWN_TOKEN"},
		{"GET", "/public", "Bearer bad", 200, ""},
		{"GET", "/admin", "Bearer good", 403, "M_FORBIDDEN"},
		{"GET", "/admin", "Bearer admin", 200, ""},
		{"GET", "/as", "Bearer good", 403, "M_FORBIDDEN"},
		{"GET", "/as", "Bearer as", 200, ""},
	}
	for _, tt := range tests {
		var header []string
		if tt.token != "" {
			header = []string{"Authorization", tt.token}
		}
		got := call(t, s, tt.method, tt.path, "", header...)
		if got.status != tt.status || tt.code != "" && got.body["errcode"] != tt.code {
			t.Errorf("%s %s %q: %d %s", tt.method, tt.path, tt.token, got.status, got.raw)
		}
		switch tt.code {
		case "M_USER_LOCKED":
			if got.body["soft_logout"] != true {
				t.Errorf("%s: %s", tt.code, got.raw)
			}
		case "M_UNKNOWN_TOKEN":
			if got.body["soft_logout"] != false {
				t.Errorf("%s: %s", tt.code, got.raw)
			}
		}
	}
}

func TestRateLimits(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	limits := api.NewLimits(map[api.Limit]api.Rate{"send": {PerSecond: 2, Burst: 3}}, func() time.Time { return now })
	t.Cleanup(limits.Close)
	s := serve(t, api.Options{Limits: limits, Auth: sessions{"a": {UserID: "@a:x"}, "b": {UserID: "@b:x"}, "free": {UserID: "@f:x", Unlimited: true}}},
		api.Endpoint{Methods: []string{"GET"}, Path: "/x", Auth: api.User, Limit: "send", Handler: echoVars})
	get := func(token string) answer { return call(t, s, "GET", "/x", "", "Authorization", "Bearer "+token) }
	for i := range 3 {
		if got := get("a"); got.status != 200 {
			t.Fatalf("call %d: %d", i, got.status)
		}
	}
	got := get("a")
	if ms, _ := got.body["retry_after_ms"].(float64); got.status != 429 || got.body["errcode"] != "M_LIMIT_EXCEEDED" || ms < 400 || ms > 600 || got.header.Get("Retry-After") != "1" {
		t.Fatalf("beyond the burst: %d %s", got.status, got.raw)
	}
	if got := get("b"); got.status != 200 {
		t.Errorf("another user is limited too")
	}
	for range 10 {
		if got := get("free"); got.status != 200 {
			t.Fatalf("a session without limits is limited")
		}
	}
	now = now.Add(time.Second)
	for range 2 {
		if got := get("a"); got.status != 200 {
			t.Fatalf("after a second: %d", got.status)
		}
	}
	if got := get("a"); got.status != 429 {
		t.Errorf("the bucket refilled too fast")
	}
}
