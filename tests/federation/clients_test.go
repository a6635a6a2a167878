package federation

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg"
	"image/png"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

// refusedWith checks with which status and errcode a client is refused.
func refusedWith(t *testing.T, c *matrixclient.Client, status int, code, method, path string, body any) {
	t.Helper()
	_, err := c.Do(t.Context(), method, path, body)
	var refusal *matrixclient.Refusal
	if !errors.As(err, &refusal) || refusal.Status != status || refusal.Code != code {
		t.Errorf("%s %s: %v, want %d %s", method, path, err, status, code)
	}
}

// TestClientsAskOtherServers: what a client learns, through its server, of users and rooms of another, and how it learns that a server is gone.
func TestClientsAskOtherServers(t *testing.T) {
	t.Parallel()
	servers := peers.Start(t, 2)
	here, there := servers[0], servers[1]
	alice, bob := here.User(t, "alice"), there.User(t, "bob")
	const nowhere = "127.0.0.1:1" // where nobody listens

	t.Run("profiles", func(t *testing.T) {
		do(t, bob, "PUT", "/profile/"+bob.UserID+"/displayname", matrixclient.J{"displayname": "Bob"})
		if got := do(t, alice, "GET", "/profile/"+bob.UserID, nil); got.Get("displayname").Str != "Bob" {
			t.Error(got)
		}
		if got := do(t, alice, "GET", "/profile/"+bob.UserID+"/displayname", nil); got.Get("displayname").Str != "Bob" {
			t.Error(got)
		}
		refusedWith(t, alice, 404, "M_NOT_FOUND", "GET", "/profile/"+bob.UserID+"/avatar_url", nil)
		refusedWith(t, alice, 404, "M_NOT_FOUND", "GET", "/profile/@nobody:"+there.Name, nil)
		refusedWith(t, alice, 502, "M_UNKNOWN", "GET", "/profile/@nobody:"+nowhere, nil)
	})
	t.Run("aliases and the directory", func(t *testing.T) {
		room, err := bob.CreateRoom(t.Context(), matrixclient.J{"visibility": "public", "preset": "public_chat", "room_alias_name": "lounge", "name": "Lounge"})
		if err != nil {
			t.Fatal(err)
		}
		got := do(t, alice, "GET", "/directory/room/"+url.PathEscape("#lounge:"+there.Name), nil)
		if got.Get("room_id").Str != room || got.Get("servers.0").Str != there.Name {
			t.Error(got)
		}
		refusedWith(t, alice, 404, "M_NOT_FOUND", "GET", "/directory/room/"+url.PathEscape("#cellar:"+there.Name), nil)
		refusedWith(t, alice, 502, "M_UNKNOWN", "GET", "/directory/room/"+url.PathEscape("#cellar:"+nowhere), nil)
		server := "/publicRooms?server=" + url.QueryEscape(there.Name)
		if got := do(t, alice, "GET", server, nil); got.Get("chunk.0.room_id").Str != room || got.Get("total_room_count_estimate").Int() != 1 {
			t.Error(got)
		}
		if got := do(t, alice, "POST", server, matrixclient.J{"filter": matrixclient.J{"generic_search_term": "cellar"}}); got.Get("chunk.#").Int() != 0 {
			t.Error(got)
		}
		refusedWith(t, alice, 502, "M_UNKNOWN", "GET", "/publicRooms?server="+url.QueryEscape(nowhere), nil)
		refusedWith(t, alice, 400, "M_INVALID_PARAM", "GET", "/publicRooms?server=%2Fetc", nil)
	})
	t.Run("spaces", func(t *testing.T) {
		create := func(c *matrixclient.Client, body matrixclient.J) string {
			t.Helper()
			room, err := c.CreateRoom(t.Context(), body)
			if err != nil {
				t.Fatal(err)
			}
			return room
		}
		link := func(c *matrixclient.Client, space, child string) {
			t.Helper()
			if _, err := c.SetState(t.Context(), space, "m.space.child", child, matrixclient.J{"via": []string{there.Name}}); err != nil {
				t.Fatal(err)
			}
		}
		aSpace := matrixclient.J{"type": "m.space"}
		open, closed := create(bob, matrixclient.J{"preset": "public_chat", "name": "open"}), create(bob, matrixclient.J{"preset": "private_chat"})
		inner := create(bob, matrixclient.J{"preset": "public_chat", "name": "inner", "creation_content": aSpace})
		theirs := create(bob, matrixclient.J{"preset": "public_chat", "name": "theirs", "creation_content": aSpace})
		link(bob, theirs, open)
		link(bob, theirs, closed)
		link(bob, theirs, inner)
		link(bob, inner, open)
		ours := create(alice, matrixclient.J{"preset": "private_chat", "name": "ours", "creation_content": aSpace})
		link(alice, ours, theirs)
		link(alice, ours, closed)
		var found []string
		from := ""
		for pages := 0; pages < 10; pages++ {
			got := newer(t, alice, "/rooms/"+url.PathEscape(ours)+"/hierarchy?limit=1&from="+url.QueryEscape(from))
			for _, room := range got.Get("rooms").Array() {
				found = append(found, fmt.Sprint(room.Get("name").Str, " ", room.Get("children_state.#").Int()))
			}
			if from = got.Get("next_batch").Str; from == "" {
				break
			}
		}
		if want := []string{"ours 2", "theirs 3", "open 0", "inner 1"}; !slices.Equal(found, want) {
			t.Errorf("%q, want %q", found, want)
		}
		if got := newer(t, alice, "/room_summary/"+url.PathEscape(inner)+"?via="+url.QueryEscape(there.Name)); got.Get("name").Str != "inner" || got.Get("membership").Str != "leave" {
			t.Error(got)
		}
		if got := newer(t, alice, "/room_summary/"+url.PathEscape(closed)+"?via="+url.QueryEscape(there.Name)); got.Get("errcode").Str != "M_NOT_FOUND" {
			t.Error(got)
		}
	})
	t.Run("keys", func(t *testing.T) {
		encrypted(t, bob)
		lost := "@carol:" + nowhere
		got := do(t, alice, "POST", "/keys/query", matrixclient.J{"device_keys": matrixclient.J{bob.UserID: []string{}, lost: []string{}}})
		if found := got.Get("device_keys").Map()[bob.UserID].Map()[bob.DeviceID]; found.Get("keys.ed25519:"+bob.DeviceID).Str != "ZWQ" {
			t.Error(got)
		}
		if got.Get("failures").Map()[nowhere].Get("errcode").Str == "" || len(got.Get("failures").Map()) != 1 {
			t.Error(got.Get("failures"))
		}
		wanted := matrixclient.J{"one_time_keys": matrixclient.J{bob.UserID: matrixclient.J{bob.DeviceID: "signed_curve25519"}, lost: matrixclient.J{"X": "signed_curve25519"}}}
		got = do(t, alice, "POST", "/keys/claim", wanted)
		if got.Get("one_time_keys").Map()[bob.UserID].Map()[bob.DeviceID].Get("signed_curve25519:AAAA.key").Str != "b25l" || len(got.Get("failures").Map()) != 1 {
			t.Error(got)
		}
		if got = do(t, alice, "POST", "/keys/claim", wanted); len(got.Get("one_time_keys").Map()) != 0 {
			t.Error("a key is given twice: ", got)
		}
	})
	t.Run("media", func(t *testing.T) {
		text := upload(t, bob, "text/plain", []byte("a file"))
		kind, content := download(t, alice, 200, "/download/"+there.Name+"/"+text)
		if !strings.HasPrefix(kind, "text/plain") || content != "a file" {
			t.Errorf("%s %q", kind, content)
		}
		var picture bytes.Buffer
		if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 400, 400))); err != nil {
			t.Fatal(err)
		}
		drawn := upload(t, bob, "image/png", picture.Bytes())
		kind, content = download(t, alice, 200, "/thumbnail/"+there.Name+"/"+drawn+"?width=32&height=32&method=crop")
		if small, _, err := image.DecodeConfig(strings.NewReader(content)); err != nil || small.Width != 32 {
			t.Error(kind, small, err)
		}
		_, content = download(t, alice, 404, "/download/"+there.Name+"/unknown")
		if gjson.Get(content, "errcode").Str != "M_NOT_FOUND" {
			t.Error(content)
		}
		download(t, alice, 502, "/download/"+nowhere+"/unknown")
		there.Kill()
		if _, content = download(t, alice, 200, "/download/"+there.Name+"/"+text); content != "a file" {
			t.Errorf("it is not kept: %q", content)
		}
	})
	t.Run("a server that has gone", func(t *testing.T) {
		begun := time.Now()
		got := do(t, alice, "POST", "/keys/query", matrixclient.J{"device_keys": matrixclient.J{bob.UserID: []string{}}})
		if got.Get("failures").Map()[there.Name].Get("errcode").Str == "" || len(got.Get("device_keys").Map()) != 0 {
			t.Error(got)
		}
		if took := time.Since(begun); took > 15*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// newer asks below /_matrix/client/v1.
func newer(t *testing.T, c *matrixclient.Client, path string) gjson.Result {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", c.URL+"/_matrix/client/v1"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+c.Token)
	resp, err := c.HTTP.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return gjson.ParseBytes(raw)
}

// download fetches media from the client's own server.
func download(t *testing.T, c *matrixclient.Client, status int, path string) (kind, content string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", c.URL+"/_matrix/client/v1/media"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+c.Token)
	resp, err := c.HTTP.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		t.Errorf("%s: %s %v %.200s", path, resp.Status, err, raw)
	}
	return resp.Header.Get("Content-Type"), string(raw)
}
