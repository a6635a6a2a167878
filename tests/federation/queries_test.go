package federation

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

// asker asks a homeserver in the name of another.
type asker struct {
	*testing.T
	from *peers.Stranger
	to   *peers.Server
}

func (a asker) call(method, uri string, body any) (gjson.Result, error) {
	a.Helper()
	return a.from.Ask(a.to, method, "/_matrix/federation/v1"+uri, body)
}

func (a asker) must(method, uri string, body any) gjson.Result {
	a.Helper()
	answer, err := a.call(method, uri, body)
	if err != nil {
		a.Fatal(err)
	}
	return answer
}

// refused checks with which status and errcode the server refuses.
func (a asker) refused(status int, code, method, uri string, body any) {
	a.Helper()
	_, err := a.call(method, uri, body)
	var refusal *federation.Error
	if !errors.As(err, &refusal) || refusal.Status != status || refusal.Code != code {
		a.Errorf("%s %s: %v, want %d %s", method, uri, err, status, code)
	}
}

func do(t *testing.T, c *matrixclient.Client, method, path string, body any) gjson.Result {
	t.Helper()
	answer, err := c.Do(t.Context(), method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func query(path string, pairs ...string) string {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return path + "?" + q.Encode()
}

// encrypted uploads keys for the device of a session: the device's own, and one that can be claimed.
func encrypted(t *testing.T, c *matrixclient.Client) {
	t.Helper()
	signatures := matrixclient.J{c.UserID: matrixclient.J{"ed25519:" + c.DeviceID: "c2lnbmVk"}}
	do(t, c, "POST", "/keys/upload", matrixclient.J{
		"device_keys": matrixclient.J{"user_id": c.UserID, "device_id": c.DeviceID, "algorithms": []string{"m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"},
			"keys":       matrixclient.J{"curve25519:" + c.DeviceID: "Y3VydmU", "ed25519:" + c.DeviceID: "ZWQ"},
			"signatures": signatures},
		"one_time_keys": matrixclient.J{"signed_curve25519:AAAA": matrixclient.J{"key": "b25l", "signatures": signatures}}})
}

// TestOtherServersAsk: what this server tells a server that it shares nothing with (server-server API).
func TestOtherServersAsk(t *testing.T) {
	t.Parallel()
	authority := peers.NewAuthority(t)
	server := authority.Start(1)[0]
	alice := server.User(t, "alice")
	a := asker{t, authority.Stranger(t), server}

	t.Run("profiles", func(t *testing.T) {
		a := asker{t, a.from, a.to}
		do(t, alice, "PUT", "/profile/"+alice.UserID+"/displayname", matrixclient.J{"displayname": "Alice"})
		if got := a.must("GET", query("/query/profile", "user_id", alice.UserID), nil); got.Get("displayname").Str != "Alice" {
			t.Error(got)
		}
		if got := a.must("GET", query("/query/profile", "user_id", alice.UserID, "field", "displayname"), nil); got.Raw != `{"displayname":"Alice"}` {
			t.Error(got)
		}
		a.refused(404, "M_NOT_FOUND", "GET", query("/query/profile", "user_id", alice.UserID, "field", "avatar_url"), nil)
		a.refused(404, "M_NOT_FOUND", "GET", query("/query/profile", "user_id", "@nobody:"+server.Name), nil)
		a.refused(400, "M_INVALID_PARAM", "GET", query("/query/profile", "user_id", "@bob:"+a.from.Name), nil)
		a.refused(400, "M_MISSING_PARAM", "GET", "/query/profile", nil)
		a.refused(404, "M_UNRECOGNIZED", "GET", "/query/weather", nil)
	})
	t.Run("nobody who has not signed", func(t *testing.T) {
		for _, path := range []string{"/query/profile?user_id=" + url.QueryEscape(alice.UserID), "/publicRooms", "/user/devices/" + alice.UserID, "/media/download/abc"} {
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: authority.Trusting()}}
			resp, err := client.Get("https://" + server.Name + "/_matrix/federation/v1" + path)
			if err != nil {
				t.Fatal(err)
			}
			raw, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != 401 || gjson.GetBytes(raw, "errcode").Str != "M_UNAUTHORIZED" {
				t.Errorf("%s: %s %s", path, resp.Status, raw)
			}
		}
	})
	t.Run("aliases and the directory", func(t *testing.T) {
		a := asker{t, a.from, a.to}
		room, err := alice.CreateRoom(t.Context(), matrixclient.J{"visibility": "public", "preset": "public_chat", "room_alias_name": "lounge", "name": "Lounge"})
		if err != nil {
			t.Fatal(err)
		}
		got := a.must("GET", query("/query/directory", "room_alias", "#lounge:"+server.Name), nil)
		if got.Get("room_id").Str != room || got.Get("servers.0").Str != server.Name {
			t.Error(got)
		}
		a.refused(404, "M_NOT_FOUND", "GET", query("/query/directory", "room_alias", "#cellar:"+server.Name), nil)
		a.refused(400, "M_INVALID_PARAM", "GET", query("/query/directory", "room_alias", "#lounge:"+a.from.Name), nil)
		for _, listed := range []gjson.Result{a.must("GET", "/publicRooms?limit=5", nil), a.must("GET", "/publicRooms", nil),
			a.must("POST", "/publicRooms", matrixclient.J{"filter": matrixclient.J{"generic_search_term": "lou"}})} {
			if listed.Get("chunk.#").Int() != 1 || listed.Get("chunk.0.room_id").Str != room {
				t.Error(listed)
			}
		}
		if got := a.must("POST", "/publicRooms", matrixclient.J{"filter": matrixclient.J{"generic_search_term": "cellar"}}); got.Get("chunk.#").Int() != 0 {
			t.Error(got)
		}
		a.refused(400, "M_INVALID_PARAM", "GET", "/publicRooms?include_all_networks=true&third_party_instance_id=irc", nil)
	})
	t.Run("spaces", func(t *testing.T) {
		a := asker{t, a.from, a.to}
		create := func(body matrixclient.J) string {
			t.Helper()
			room, err := alice.CreateRoom(t.Context(), body)
			if err != nil {
				t.Fatal(err)
			}
			return room
		}
		open, closed := create(matrixclient.J{"preset": "public_chat", "name": "open"}), create(matrixclient.J{"preset": "private_chat"})
		space := create(matrixclient.J{"preset": "public_chat", "name": "space", "creation_content": matrixclient.J{"type": "m.space"}})
		for _, child := range []string{open, closed, "!elsewhere:example.org"} {
			if _, err := alice.SetState(t.Context(), space, "m.space.child", child, matrixclient.J{"via": []string{server.Name}}); err != nil {
				t.Fatal(err)
			}
		}
		got := a.must("GET", "/hierarchy/"+url.PathEscape(space), nil)
		if got.Get("room.room_id").Str != space || got.Get("room.children_state.#").Int() != 3 {
			t.Error(got)
		}
		if got.Get("children.#").Int() != 1 || got.Get("children.0.room_id").Str != open || got.Get("children.0.name").Str != "open" {
			t.Error(got.Get("children"))
		}
		if got.Get("inaccessible_children").Raw != fmt.Sprintf("[%q]", closed) {
			t.Error(got.Get("inaccessible_children"))
		}
		a.refused(404, "M_NOT_FOUND", "GET", "/hierarchy/"+url.PathEscape(closed), nil)
		a.refused(404, "M_NOT_FOUND", "GET", "/hierarchy/"+url.PathEscape("!unknown:"+server.Name), nil)
		if got := a.must("GET", "/hierarchy/"+url.PathEscape(space)+"?suggested_only=true", nil); got.Get("children.#").Int() != 0 {
			t.Error(got)
		}
	})
	t.Run("devices and their keys", func(t *testing.T) {
		a := asker{t, a.from, a.to}
		encrypted(t, alice)
		got := a.must("GET", "/user/devices/"+url.PathEscape(alice.UserID), nil)
		if got.Get("user_id").Str != alice.UserID || got.Get("devices.0.device_id").Str != alice.DeviceID || got.Get("stream_id").Int() == 0 ||
			got.Get("devices.0.keys.user_id").Str != alice.UserID {
			t.Error(got)
		}
		got = a.must("POST", "/user/keys/query", matrixclient.J{"device_keys": matrixclient.J{alice.UserID: []string{}}})
		if found := got.Get("device_keys").Map()[alice.UserID].Map(); len(found) != 1 || found[alice.DeviceID].Get("keys.ed25519:"+alice.DeviceID).Str != "ZWQ" || got.Get("user_signing_keys").Exists() {
			t.Error(got)
		}
		wanted := matrixclient.J{"one_time_keys": matrixclient.J{alice.UserID: matrixclient.J{alice.DeviceID: "signed_curve25519"}}}
		got = a.must("POST", "/user/keys/claim", wanted)
		if got.Get("one_time_keys").Map()[alice.UserID].Map()[alice.DeviceID].Get("signed_curve25519:AAAA.key").Str != "b25l" {
			t.Error(got)
		}
		if got = a.must("POST", "/user/keys/claim", wanted); got.Raw != `{"one_time_keys":{}}` {
			t.Error("a key is given twice: ", got)
		}
		stranger := matrixclient.J{"@bob:" + a.from.Name: []string{}}
		a.refused(400, "M_INVALID_PARAM", "POST", "/user/keys/query", matrixclient.J{"device_keys": stranger})
		a.refused(400, "M_BAD_JSON", "POST", "/user/keys/query", matrixclient.J{})
		a.refused(400, "M_INVALID_PARAM", "GET", "/user/devices/"+url.PathEscape("@bob:"+a.from.Name), nil)
	})
	t.Run("OpenID", func(t *testing.T) {
		a := asker{t, a.from, a.to}
		token := do(t, alice, "POST", "/user/"+alice.UserID+"/openid/request_token", matrixclient.J{}).Get("access_token").Str
		if got := a.must("GET", query("/openid/userinfo", "access_token", token), nil); got.Get("sub").Str != alice.UserID {
			t.Error(got)
		}
		a.refused(401, "M_UNKNOWN_TOKEN", "GET", query("/openid/userinfo", "access_token", token+"x"), nil)
		a.refused(401, "M_MISSING_TOKEN", "GET", "/openid/userinfo", nil)
	})
	t.Run("media", func(t *testing.T) {
		a := asker{t, a.from, a.to}
		mediaID := upload(t, alice, "text/plain", []byte("a file"))
		about, kind, content := a.media("/media/download/" + mediaID)
		if about != "{}" || kind != "text/plain; charset=utf-8" || content != "a file" {
			t.Errorf("%s %s %q", about, kind, content)
		}
		a.refused(404, "M_NOT_FOUND", "GET", "/media/download/unknown", nil)
		a.refused(400, "M_MISSING_PARAM", "GET", "/media/thumbnail/"+mediaID, nil)
		a.refused(400, "M_UNKNOWN", "GET", "/media/thumbnail/"+mediaID+"?width=10&height=10", nil)
	})
}

// upload gives the id of new media.
func upload(t *testing.T, c *matrixclient.Client, kind string, content []byte) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", c.URL+"/_matrix/media/v3/upload?filename=file", bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+c.Token)
	r.Header.Set("Content-Type", kind)
	resp, err := c.HTTP.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	uri := gjson.GetBytes(raw, "content_uri").Str
	if err != nil || uri == "" {
		t.Fatalf("%v %s", err, raw)
	}
	return uri[strings.LastIndexByte(uri, '/')+1:]
}

// media fetches media, and gives the two parts of the answer.
func (a asker) media(uri string) (about, kind, content string) {
	a.Helper()
	body, contentType, err := a.from.Caller.Open(a.Context(), federation.Request{Destination: a.to.Name, Method: "GET", URI: "/_matrix/federation/v1" + uri})
	if err != nil {
		a.Fatal(err)
	}
	defer body.Close()
	mediaType, params, err := mime.ParseMediaType(contentType)
	if err != nil || mediaType != "multipart/mixed" {
		a.Fatalf("%s: %v", contentType, err)
	}
	parts := multipart.NewReader(body, params["boundary"])
	read := func() (kind, content string) {
		a.Helper()
		part, err := parts.NextPart()
		if err != nil {
			a.Fatal(err)
		}
		raw, err := io.ReadAll(part)
		if err != nil {
			a.Fatal(err)
		}
		return part.Header.Get("Content-Type"), string(raw)
	}
	if kind, about = read(); kind != "application/json" {
		a.Errorf("the first part is %s", kind)
	}
	kind, content = read()
	return about, kind, content
}
