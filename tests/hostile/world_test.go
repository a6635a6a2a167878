// Package hostile sends the real server what no client should: fields of every wrong type, parameters beyond every grammar, bodies
// that are too large, too deep or too slow, and requests from people who may not make them.
package hostile

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/tests/binary"
	"github.com/matrixon/matrixon/tests/matrixclient"
)

// requestsJSON are the endpoints of the specification; scripts/openapi-requests.go makes the file.
//
//go:embed testdata/requests.json
var requestsJSON []byte

// beyondJSON are the endpoints of proposals, which no OpenAPI file of the specification has: it is written by hand.
//
//go:embed testdata/beyond.json
var beyondJSON []byte

// request is an endpoint: how it is asked, and which types its body has where.
type request struct {
	ID, Method, Path string
	Auth             bool
	Params           []struct{ Name, In, Type string }
	Fields           []field
	Example          json.RawMessage
}

type field struct {
	Path []any
	Type string
}

func (q request) String() string { return q.Method + " " + q.Path }

func requests(t *testing.T) []request {
	t.Helper()
	var all []request
	for _, file := range [][]byte{requestsJSON, beyondJSON} {
		var some []request
		if err := json.Unmarshal(file, &some); err != nil {
			t.Fatal(err)
		}
		all = append(all, some...)
	}
	return all
}

// world is a server and how to reach it.
type world struct {
	server *binary.Server
	http   *http.Client
}

func newWorld(t *testing.T, set ...string) *world {
	t.Helper()
	set = append(set, "federation.enabled=false", "listeners=[{address: '127.0.0.1:0', serves: [client, media]}]")
	return &world{server: binary.Start(t, set...), http: &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       40 * time.Second,
	}}
}

// answer is what the server said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) code() string { return gjson.GetBytes(a.body, "errcode").Str }

func (a answer) String() string {
	return fmt.Sprintf("%d %s", a.status, a.body[:min(len(a.body), 300)])
}

// ask makes a request: path is as it goes over the wire.
func (w *world) ask(ctx context.Context, method, path, token string, body []byte) (answer, error) {
	return w.askWith(ctx, "application/json", method, path, token, body)
}

// askWith is ask for a body of another content type.
func (w *world) askWith(ctx context.Context, contentType, method, path, token string, body []byte) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, w.server.URL, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	raw, query, _ := strings.Cut(path, "?")
	r.URL.Opaque, r.URL.RawQuery = "//"+r.URL.Host+raw, query
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != nil {
		r.Header.Set("Content-Type", contentType)
	}
	resp, err := w.http.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, text}, err
}

// stages reports whether the answer asks for stages of User-Interactive Authentication.
func (a answer) stages() bool {
	return a.status == http.StatusUnauthorized && gjson.GetBytes(a.body, "flows.0.stages").IsArray() && gjson.GetBytes(a.body, "session").Str != ""
}

// outcome is the status and the errcode, without M_, or that stages are asked for.
func (a answer) outcome() string {
	outcome := strconv.Itoa(a.status)
	if a.stages() {
		return outcome + " stages"
	}
	return strings.TrimSpace(outcome + " " + strings.TrimPrefix(a.code(), "M_"))
}

// malformed says what is wrong with an answer, whatever the request was.
func (a answer) malformed() string {
	switch {
	case a.status >= 500:
		return "it is the server's failure"
	case a.header.Get("Access-Control-Allow-Origin") != "*":
		return "it has no CORS headers"
	case a.header.Get("Content-Type") != "application/json":
		return "its content type is " + a.header.Get("Content-Type")
	case !json.Valid(a.body):
		return "it is no JSON"
	case a.status >= 400 && !a.stages() && (a.code() == "" || gjson.GetBytes(a.body, "error").Str == ""):
		return "it has no errcode or no error"
	case a.status >= 300 && a.status < 400:
		return "it leads elsewhere"
	}
	return ""
}

// person is somebody with a room and one of everything that endpoints speak of.
type person struct {
	*matrixclient.Client
	room, alias, event, filter, backup string
}

func (w *world) person(ctx context.Context, name string) (*person, error) {
	nobody := &matrixclient.Client{URL: w.server.URL, HTTP: w.http}
	c, err := nobody.Register(ctx, name, "password")
	if err != nil {
		return nil, err
	}
	p := &person{Client: c, alias: "#" + name + ":localhost"}
	if p.room, err = c.CreateRoom(ctx, matrixclient.J{"preset": "public_chat", "room_alias_name": name}); err != nil {
		return nil, err
	}
	if p.event, err = c.Send(ctx, p.room, "m.room.message", "first", matrixclient.J{"msgtype": "m.text", "body": "hello"}); err != nil {
		return nil, err
	}
	made, err := c.Do(ctx, "POST", "/user/"+url.PathEscape(c.UserID)+"/filter", matrixclient.J{"room": matrixclient.J{"timeline": matrixclient.J{"limit": 1}}})
	if err != nil {
		return nil, err
	}
	p.filter = made.Get("filter_id").Str
	if made, err = c.Do(ctx, "POST", "/room_keys/version", matrixclient.J{"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2",
		"auth_data": matrixclient.J{"public_key": "abcdefg", "signatures": matrixclient.J{}}}); err != nil {
		return nil, err
	}
	p.backup = made.Get("version").Str
	return p, nil
}

// value is a good value of a parameter.
func (p *person) value(name string) string {
	switch name {
	case "roomId", "roomIdOrAlias", "room_id":
		return p.room
	case "userId", "user_id":
		return p.UserID
	case "eventId", "event_id", "from_event", "threadRootId":
		return p.event
	case "roomAlias":
		return p.alias
	case "deviceId":
		return p.DeviceID
	case "filterId":
		return p.filter
	case "version":
		return p.backup
	case "eventType", "type":
		return "org.example.thing"
	case "receiptType":
		return "m.read"
	case "relType":
		return "m.thread"
	case "scope":
		return "global"
	case "kind":
		return "override"
	case "ruleId":
		return ".m.rule.master"
	case "attr":
		return "enabled"
	case "dir":
		return "b"
	case "serverName":
		return "localhost"
	case "ts":
		return "4102444800000" // long after everything
	case "width", "height":
		return "32"
	case "keyName":
		return "displayname"
	case "username":
		return "somebody"
	}
	return "x"
}

// sent are the parameters of queries that requests have; the others may be left out.
var sent = []string{"ts", "dir", "version", "username", "user_id", "room_id", "width", "height"}

// path is where the endpoint is, with good values, but for one of them: as it goes over the wire.
func (p *person) path(q request, name, instead string) string {
	path, query := q.Path, []string{}
	for _, one := range q.Params {
		value := url.PathEscape(p.value(one.Name))
		if one.Name == name {
			value = instead
		}
		switch {
		case one.In == "path":
			path = strings.ReplaceAll(path, "{"+one.Name+"}", value)
		case one.Name == name || slices.Contains(sent, one.Name):
			query = append(query, one.Name+"="+strings.NewReplacer("&", "%26", "#", "%23", "+", "%2B").Replace(value))
		}
	}
	if len(query) > 0 {
		path += "?" + strings.Join(query, "&")
	}
	return path
}
