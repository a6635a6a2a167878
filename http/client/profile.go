package client

import (
	"context"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

const (
	displayName = "displayname"
	avatarURL   = "avatar_url"
	timeZone    = "m.tz"

	// Display names and avatars are copied into every member event, so they are kept short.
	maxDisplayName = 256 // characters
	maxAvatarURL   = 1000
	maxTimeZone    = 255
)

func (a *accounts) profiles() []api.Endpoint {
	const path = "/_matrix/client/v3/profile/{userId}"
	const field = path + "/{keyName}"
	unstable := []string{"/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}"}
	return []api.Endpoint{
		{Methods: get, Path: path, Also: []string{"/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}"}, R0: true, Handler: a.getProfile},
		{Methods: get, Path: field, Also: unstable, R0: true, Handler: a.getProfileField},
		{Methods: put, Path: field, Also: unstable, R0: true, Auth: api.User, Limit: api.LimitAccount, Handler: a.putProfileField},
		{Methods: remove, Path: field, Also: unstable, R0: true, Auth: api.User, Limit: api.LimitAccount, Handler: a.deleteProfileField},
	}
}

func (a *accounts) getProfile(r *api.Request) (any, error) {
	return a.profile(r, "")
}

func (a *accounts) getProfileField(r *api.Request) (any, error) {
	name := r.Vars["keyName"]
	fields, err := a.profile(r, name)
	if err != nil {
		return nil, err
	}
	value, ok := fields[name]
	switch {
	case !ok && a.bridgeAsks(r) && (name == "displayname" || name == "avatar_url"):
		return map[string]jsontext.Value{}, nil
	case !ok:
		return nil, mxerr.NotFound("%s has no %s in the profile", r.Vars["userId"], name)
	}
	return map[string]jsontext.Value{name: value}, nil
}

// bridgeAsks reports whether an application service asks. Before they set a name or a picture, bridges look whether it is another, and the
// libraries that they are made with do not go on after the 404 that the specification has for a field that is not set (since v1.16).
func (a *accounts) bridgeAsks(r *api.Request) bool {
	if a.Appservices == nil {
		return false
	}
	_, is := a.Appservices.ByToken(api.TokenOf(r.HTTP))
	return is
}

// profile gives the profile of a local or remote user. Of a remote one it may be no more than the named field.
func (a *accounts) profile(r *api.Request, field string) (map[string]jsontext.Value, error) {
	userID := r.Vars["userId"]
	_, server, err := id.ParseUser(userID)
	if err != nil {
		return nil, mxerr.InvalidParam("%.255q is no user id: %v", userID, err)
	}
	if server != a.ServerName {
		if a.o.RemoteProfile == nil {
			return nil, mxerr.NotFound("this server does not ask other servers")
		}
		return a.o.RemoteProfile(r.Ctx, userID, field)
	}
	return LocalProfile(r.Ctx, a.Store, userID)
}

// LocalProfile gives the profile of a user of this server; 404 M_NOT_FOUND when there is no such user.
func LocalProfile(ctx context.Context, store persistence.Reader, userID string) (map[string]jsontext.Value, error) {
	_, ok, err := schema.Accounts.Get(ctx, store, schema.Account{UserID: userID})
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, mxerr.NotFound("there is no user %s", userID)
	}
	rows, err := account.Profile(ctx, store, userID)
	if err != nil {
		return nil, err
	}
	fields := make(map[string]jsontext.Value, len(rows))
	for _, row := range rows {
		fields[row.Field] = row.Value
	}
	return fields, nil
}

// editable checks that the user may change the field that the path names.
func (a *accounts) editable(r *api.Request) (string, error) {
	name := r.Vars["keyName"]
	if len(name) > id.MaxLength {
		return "", mxerr.New(http.StatusBadRequest, "M_KEY_TOO_LARGE", "the name of a profile field may be at most %d bytes long", id.MaxLength)
	}
	switch name {
	case displayName, avatarURL, timeZone:
	default:
		if !id.ValidNamespaced(name) || !strings.Contains(name, ".") {
			return "", mxerr.InvalidParam("a profile field is displayname, avatar_url, m.tz, or a name like org.example.field")
		}
	}
	owner := r.Vars["userId"]
	if owner != r.User() {
		return "", mxerr.Forbidden("you can only change your own profile, %s", r.User())
	}
	return name, nil
}

// putProfileField sets a field (client-server API, "Profiles").
func (a *accounts) putProfileField(r *api.Request) (any, error) {
	name, err := a.editable(r)
	if err != nil {
		return nil, err
	}
	var body map[string]jsontext.Value
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	value, ok := body[name]
	if !ok {
		return nil, mxerr.MissingParam("the body must hold the member %q", name)
	}
	if err := value.Compact(); err != nil {
		return nil, mxerr.BadJSON("the value is not valid JSON")
	}
	if value, err = fieldValue(name, value); err != nil {
		return nil, err
	}
	return nil, a.setField(r, name, value)
}

func (a *accounts) deleteProfileField(r *api.Request) (any, error) {
	name, err := a.editable(r)
	if err != nil {
		return nil, err
	}
	return nil, a.setField(r, name, nil)
}

// fieldValue checks the value of the fields that the specification knows. An empty or null display name or avatar means
// that there is none, as it did before fields could be deleted.
func fieldValue(name string, value jsontext.Value) (jsontext.Value, error) {
	if name != displayName && name != avatarURL && name != timeZone {
		return value, nil
	}
	if value.Kind() == 'n' && name != timeZone {
		return nil, nil
	}
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return nil, mxerr.BadJSON("the member %q must be a string", name)
	}
	switch {
	case text == "" && name != timeZone:
		return nil, nil
	case name == displayName && utf8.RuneCountInString(text) > maxDisplayName:
		return nil, mxerr.InvalidParam("the display name is longer than %d characters", maxDisplayName)
	case name == avatarURL && len(text) > maxAvatarURL:
		return nil, mxerr.InvalidParam("avatar_url is longer than %d bytes", maxAvatarURL)
	case name == timeZone && len(text) > maxTimeZone:
		return nil, mxerr.InvalidParam("m.tz must be the name of a time zone")
	}
	return value, nil
}

// setField stores the value, and brings a display name or avatar into the user's rooms. It does so even when the value was
// stored before, for this may be the repetition of a request whose way through the rooms was cut off.
func (a *accounts) setField(r *api.Request, name string, value jsontext.Value) error {
	_, err := AskUser[*messages.Done](r.Ctx, a.Deps, r.User(), &messages.SetProfileField{Field: name, Value: value})
	if err != nil || name != displayName && name != avatarURL {
		return err
	}
	return a.refresher.refresh(r.Ctx, r.User())
}
