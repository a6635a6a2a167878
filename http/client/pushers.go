package client

import (
	"bytes"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// PushOptions say which pushers users may have.
type PushOptions struct {
	// Networks are private ones in which push gateways may be; there, and only there, they need no TLS.
	Networks []netip.Prefix
	// Email reports whether the server sends email.
	Email bool
}

// The longest that the members of a pusher may be, in bytes. The first two are the specification's.
const (
	maxAppID      = 64
	maxPushkey    = 512
	maxPusherName = 255
	maxPusherLang = 64
	maxPusherData = 16 << 10
	maxGatewayURL = 2048
	gatewayPath   = "/_matrix/push/v1/notify"
	eventIDOnly   = "event_id_only"
)

func (a *accounts) pushers() []api.Endpoint {
	return []api.Endpoint{
		{Methods: get, Path: "/_matrix/client/v3/pushers", R0: true, Auth: api.User, Handler: a.getPushers},
		{Methods: post, Path: "/_matrix/client/v3/pushers/set", R0: true, Auth: api.User, Limit: api.LimitAccount, WhileSuspended: true, Handler: a.setPusher},
	}
}

// pusher is a pusher as clients see it.
type pusher struct {
	Pushkey           string         `json:"pushkey"`
	Kind              string         `json:"kind"`
	AppID             string         `json:"app_id"`
	AppDisplayName    string         `json:"app_display_name"`
	DeviceDisplayName string         `json:"device_display_name"`
	ProfileTag        string         `json:"profile_tag,omitzero"`
	Lang              string         `json:"lang"`
	Data              jsontext.Value `json:"data"`
	Enabled           bool           `json:"org.matrix.msc3881.enabled"`
	DeviceID          string         `json:"org.matrix.msc3881.device_id,omitzero"`
}

func (a *accounts) getPushers(r *api.Request) (any, error) {
	rows, err := account.Pushers(r.Ctx, a.Store, r.User())
	if err != nil {
		return nil, err
	}
	list := make([]pusher, len(rows))
	for i, p := range rows {
		list[i] = pusher{p.Pushkey, p.Kind, p.AppID, p.AppDisplayName, p.DeviceDisplayName, p.ProfileTag, p.Lang, p.Data, p.Enabled, p.DeviceID}
	}
	return map[string][]pusher{"pushers": list}, nil
}

// pusherRequest is the body of POST /pushers/set.
type pusherRequest struct {
	Kind              jsontext.Value `json:"kind"`
	AppID             *string        `json:"app_id"`
	Pushkey           *string        `json:"pushkey"`
	AppDisplayName    *string        `json:"app_display_name"`
	DeviceDisplayName *string        `json:"device_display_name"`
	ProfileTag        string         `json:"profile_tag"`
	Lang              *string        `json:"lang"`
	Data              jsontext.Value `json:"data"`
	Append            bool           `json:"append"`
	Enabled           *bool          `json:"org.matrix.msc3881.enabled"`
	// NoCount says that the app counts by itself what is unread (MSC4076). Most apps say so in the data instead, where it is kept.
	NoCount       bool `json:"org.matrix.msc4076.disable_badge_count"`
	NoCountStable bool `json:"disable_badge_count"`
}

// setPusher makes, changes or removes a pusher (client-server API, "POST /_matrix/client/v3/pushers/set").
func (a *accounts) setPusher(r *api.Request) (any, error) {
	var q pusherRequest
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	if len(q.Kind) == 0 || q.AppID == nil || q.Pushkey == nil {
		return nil, mxerr.MissingParam("kind, app_id and pushkey are required")
	}
	if q.Kind.Kind() == 'n' {
		return nil, a.ask(r, r.User(), &messages.RemovePusher{AppId: *q.AppID, Pushkey: *q.Pushkey})
	}
	m, err := a.pusher(&q)
	if err != nil {
		return nil, err
	}
	m.DeviceId = r.Device()
	if err := a.ask(r, r.User(), m); err != nil || q.Append {
		return nil, err
	}
	return nil, a.removeOthersPushers(r, m)
}

// removeOthersPushers removes the pushers of other users with the same app id and pushkey: somebody else uses the device now.
func (a *accounts) removeOthersPushers(r *api.Request, m *messages.SetPusher) error {
	same := persistence.Range[schema.PusherByKey]{Prefix: schema.PusherByKey{AppID: m.AppId, Pushkey: m.Pushkey}, Keys: 2}
	rows, err := schema.PushersByKey.All(r.Ctx, a.Store, same)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if row.UserID == r.User() {
			continue
		}
		if err := a.ask(r, row.UserID, &messages.RemovePusher{AppId: m.AppId, Pushkey: m.Pushkey}); err != nil {
			return err
		}
	}
	return nil
}

// pusher checks what the request says.
func (a *accounts) pusher(q *pusherRequest) (*messages.SetPusher, error) {
	var missing []string
	for name, absent := range map[string]bool{
		"app_display_name": q.AppDisplayName == nil, "device_display_name": q.DeviceDisplayName == nil, "lang": q.Lang == nil, "data": len(q.Data) == 0,
	} {
		if absent {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return nil, mxerr.MissingParam("missing: %s", strings.Join(missing, ", "))
	}
	m := &messages.SetPusher{
		AppId: *q.AppID, Pushkey: *q.Pushkey, AppDisplayName: *q.AppDisplayName, DeviceDisplayName: *q.DeviceDisplayName,
		ProfileTag: q.ProfileTag, Lang: *q.Lang, Enabled: q.Enabled == nil || *q.Enabled,
	}
	if err := json.Unmarshal(q.Kind, &m.Kind); err != nil {
		return nil, mxerr.BadJSON("kind must be a string, or null to remove the pusher")
	}
	for _, part := range []struct {
		name, value string
		least, most int
	}{
		{"app_id", m.AppId, 1, maxAppID}, {"pushkey", m.Pushkey, 1, maxPushkey}, {"app_display_name", m.AppDisplayName, 0, maxPusherName},
		{"device_display_name", m.DeviceDisplayName, 0, maxPusherName}, {"profile_tag", m.ProfileTag, 0, maxPusherName},
		{"lang", m.Lang, 0, maxPusherLang}, {"data", string(q.Data), 0, maxPusherData},
	} {
		if len(part.value) < part.least || len(part.value) > part.most || strings.Contains(part.value, "\x00") {
			return nil, mxerr.InvalidParam("%s must have %d to %d bytes, without NUL", part.name, part.least, part.most)
		}
	}
	data := q.Data.Clone()
	if data.Kind() != '{' {
		return nil, mxerr.BadJSON("data must be an object")
	}
	if q.NoCount || q.NoCountStable {
		members := map[string]jsontext.Value{}
		if err := json.Unmarshal(data, &members); err != nil {
			return nil, mxerr.BadJSON("data must be an object")
		}
		members["disable_badge_count"] = jsontext.Value("true")
		var err error
		if data, err = json.Marshal(members, json.Deterministic(true)); err != nil {
			return nil, err
		}
	}
	if err := data.Compact(); err != nil {
		return nil, mxerr.BadJSON("data must be an object")
	}
	m.Data = bytes.Clone(data)
	switch m.Kind {
	case account.HTTPPusher:
		return m, a.httpPusher(m.Data)
	case account.EmailPusher:
		return m, a.emailPusher(m)
	}
	return nil, mxerr.InvalidParam("this server has no pushers of the kind %.64q", m.Kind)
}

// httpPusher checks the data of a pusher that calls a push gateway.
func (a *accounts) httpPusher(raw []byte) error {
	var data struct {
		URL    *string `json:"url"`
		Format *string `json:"format"`
	}
	if err := json.Unmarshal(raw, &data); err != nil {
		return mxerr.BadJSON("data.url and data.format must be strings")
	}
	if data.URL == nil {
		return mxerr.MissingParam("data.url is required for pushers of the kind http")
	}
	if data.Format != nil && *data.Format != eventIDOnly {
		return mxerr.InvalidParam("this server knows no format of notifications but %s", eventIDOnly)
	}
	u, err := url.Parse(*data.URL)
	if err != nil || len(*data.URL) > maxGatewayURL || u.Host == "" || u.User != nil || u.Fragment != "" || u.EscapedPath() != gatewayPath {
		return mxerr.InvalidParam("data.url must be an HTTPS URL with the path %s", gatewayPath)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || len(a.o.Push.Networks) == 0) {
		return mxerr.InvalidParam("data.url must be an HTTPS URL with the path %s", gatewayPath)
	}
	return nil
}

// emailPusher checks a pusher that sends email. Whether the address is the user's is known where it is stored.
func (a *accounts) emailPusher(m *messages.SetPusher) error {
	if !a.o.Push.Email {
		return mxerr.InvalidParam("this server sends no email")
	}
	if m.AppId != account.EmailApp {
		return mxerr.InvalidParam("the app_id of pushers of the kind email is %s", account.EmailApp)
	}
	return nil
}
