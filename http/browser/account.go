package browser

import (
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The actions that apps can lead people to (client-server API, "Account management URL actions").
const (
	ActionProfile    = "org.matrix.profile"
	ActionDevices    = "org.matrix.devices_list"
	ActionDevice     = "org.matrix.device_view"
	ActionSignOut    = "org.matrix.device_delete"
	ActionDeactivate = "org.matrix.account_deactivate"
	ActionReset      = "org.matrix.cross_signing_reset"
)

// Actions are all of them.
var Actions = []string{ActionProfile, ActionDevices, ActionDevice, ActionSignOut, ActionDeactivate, ActionReset}

// earlier are the names that apps used before.
var earlier = map[string]string{"org.matrix.sessions_list": ActionDevices, "org.matrix.session_view": ActionDevice, "org.matrix.session_end": ActionSignOut}

// resetLife is how long the cross-signing keys can be replaced after the user has agreed.
const resetLife = 10 * time.Minute

func (p *Pages) account() []api.Endpoint {
	return []api.Endpoint{
		p.Page(get, AccountPath, p.accountPage),
		p.Page(post, AccountPath+"/profile", p.owned(p.setName)),
		p.Page(post, AccountPath+"/password", p.owned(p.setPassword)),
		p.Page(post, AccountPath+"/disconnect", p.owned(p.disconnect)),
		p.Page(post, AccountPath+"/device", p.owned(p.endDevice)),
		p.Page(post, AccountPath+"/deactivate", p.owned(p.deactivate)),
		p.Page(post, AccountPath+"/reset", p.owned(p.allowReset)),
	}
}

// ActionURL is the full address of an action.
func (p *Pages) ActionURL(action string) string { return p.URL(With(AccountPath, "action", action)) }

// owned is for forms of who is signed in.
func (p *Pages) owned(f func(*View) (any, error)) func(*View) (any, error) {
	return func(v *View) (any, error) {
		if to := p.NeedUser(v, AccountPath, false, ""); to != nil {
			return to, nil
		}
		if err := v.Take(api.LimitAccount); err != nil {
			return nil, err
		}
		return f(v)
	}
}

// accountPage shows what an app wants the user to look after, or all there is.
func (p *Pages) accountPage(v *View) (any, error) {
	action := v.Param("action")
	if now, ok := earlier[action]; ok {
		action = now
	}
	back := AccountPath
	if v.HTTP.URL.RawQuery != "" {
		back = Local(AccountPath + "?" + v.HTTP.URL.RawQuery)
	}
	if to := p.NeedUser(v, back, false, ""); to != nil {
		return to, nil
	}
	s := Shown{User: v.Who.Account.UserID}
	switch action {
	case ActionProfile:
		return p.profile(v, http.StatusOK, "", "")
	case ActionDevices:
		return p.devices(v)
	case ActionDevice, ActionSignOut:
		if v.Param("device_id") == "" {
			return p.devices(v)
		}
		return p.device(v, action == ActionSignOut)
	case ActionDeactivate:
		if to := p.NeedFresh(v, back); to != nil {
			return to, nil
		}
		s.Title = "Deactivate the account"
		return p.Render(http.StatusOK, "deactivate", s)
	case ActionReset:
		if to := p.NeedFresh(v, back); to != nil {
			return to, nil
		}
		s.Title = "Reset the digital identity"
		return p.Render(http.StatusOK, "reset", s)
	}
	s.Title = "Your account"
	return p.Render(http.StatusOK, "account", s)
}

// profile shows what others see, and the password.
func (p *Pages) profile(v *View, status int, notice, problem string) (any, error) {
	user := v.Who.Account
	fields, err := account.Profile(v.Ctx, p.Store, user.UserID)
	if err != nil {
		return nil, err
	}
	shown := struct {
		Name, Notice string
		Addresses    []string
		HasPassword  bool
		Ways         []way
	}{Notice: notice, HasPassword: user.PasswordHash != "" && p.o.Registrar.Passwords()}
	for _, f := range fields {
		if f.Field == "displayname" {
			if err := json.Unmarshal(f.Value, &shown.Name); err != nil {
				return nil, err
			}
		}
	}
	for row, err := range schema.ThirdPartyIDsByUser.Scan(v.Ctx, p.Store, persistence.Range[schema.ThirdPartyIDByUser]{Prefix: schema.ThirdPartyIDByUser{UserID: user.UserID}, Keys: 1}) {
		if err != nil {
			return nil, err
		}
		shown.Addresses = append(shown.Addresses, row.Address)
	}
	if shown.Ways, err = p.ways(v); err != nil {
		return nil, err
	}
	return p.Render(status, "profile", Shown{Title: "Profile and password", User: user.UserID, Error: problem, Data: shown})
}

// way is an identity provider as the user's profile shows it: one that signs the user in, or one that could.
type way struct{ Provider, Name, Subject, Connect string }

func (p *Pages) ways(v *View) ([]way, error) {
	var all []way
	connected := map[string]bool{}
	for row, err := range schema.ExternalIDsByUser.Scan(v.Ctx, p.Store, persistence.Range[schema.ExternalIDByUser]{Prefix: schema.ExternalIDByUser{UserID: v.Who.Account.UserID}, Keys: 1}) {
		if err != nil {
			return nil, err
		}
		connected[row.Provider] = true
		w := way{Provider: row.Provider, Name: row.Provider, Subject: row.Subject}
		for _, known := range p.o.Providers {
			if known.ID == row.Provider {
				w.Name = known.Name
			}
		}
		all = append(all, w)
	}
	for _, known := range p.o.Providers {
		if !connected[known.ID] {
			all = append(all, way{Name: known.Name, Connect: With(WithPath+known.ID, "connect", "1")})
		}
	}
	return all, nil
}

// disconnect has a provider sign the user in no more.
func (p *Pages) disconnect(v *View) (any, error) {
	err := p.o.Registrar.Ask(v.Request, v.Who.Account.UserID, &messages.UnlinkExternalID{
		ExternalId: &messages.ExternalID{Provider: v.Form.Get("provider"), Subject: v.Form.Get("subject")}})
	if refused := Refusal(err); refused != nil {
		return p.profile(v, refused.Status, "", sentence(refused.Message))
	}
	if err != nil {
		return nil, err
	}
	return Redirect(With(AccountPath, "action", ActionProfile)), nil
}

func (p *Pages) setName(v *View) (any, error) {
	if v.Session.Suspended {
		return nil, mxerr.New(http.StatusForbidden, "M_USER_SUSPENDED", "this account has been suspended and can only read")
	}
	err := p.o.Registrar.SetDisplayName(v.Request, v.Form.Get("name"))
	if refused := Refusal(err); refused != nil {
		return p.profile(v, refused.Status, "", sentence(refused.Message))
	}
	if err != nil {
		return nil, err
	}
	return p.profile(v, http.StatusOK, "Saved.", "")
}

func (p *Pages) setPassword(v *View) (any, error) {
	userID := v.Who.Account.UserID
	_, err := p.o.Registrar.ByPassword(v.Request, userID, v.Form.Get("old"))
	if err == nil && v.Form.Get("new") != v.Form.Get("again") {
		err = mxerr.InvalidParam("the two new passwords are not the same")
	}
	var hash string
	if err == nil {
		hash, err = p.o.Registrar.Hash(v.Request, v.Form.Get("new"))
	}
	if refused := Refusal(err); refused != nil {
		return p.profile(v, refused.Status, "", sentence(refused.Message))
	}
	if err != nil {
		return nil, err
	}
	if err := p.o.Registrar.SetPassword(v.Request, userID, hash, v.Form.Get("out") != ""); err != nil {
		return nil, err
	}
	cookie, err := p.SignIn(v.Request, userID) // a new password signs out all browsers
	if err != nil {
		return nil, err
	}
	return Redirect(With(AccountPath, "action", ActionProfile), cookie), nil
}

// shownDevice is a device as people see it.
type shownDevice struct{ ID, Name, Client, Since, Seen, IP string }

func show(d schema.Device) shownDevice {
	s := shownDevice{ID: d.DeviceID, Name: d.DisplayName, Since: date(d.CreatedTS), Seen: date(d.LastSeenTS), IP: d.LastSeenIP}
	if s.Name == "" {
		s.Name = "A device without a name"
	}
	return s
}

func date(ms int64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).UTC().Format("2 January 2006, 15:04 UTC")
}

func (p *Pages) devices(v *View) (any, error) {
	rows, err := account.Devices(v.Ctx, p.Store, v.Who.Account.UserID)
	if err != nil {
		return nil, err
	}
	shown := make([]shownDevice, len(rows))
	for i, d := range rows {
		shown[i] = show(d)
	}
	return p.Render(http.StatusOK, "devices", Shown{Title: "Devices", User: v.Who.Account.UserID, Data: shown})
}

func (p *Pages) device(v *View, remove bool) (any, error) {
	userID, id := v.Who.Account.UserID, v.Param("device_id")
	d, ok, err := schema.Devices.Get(v.Ctx, p.Store, schema.Device{UserID: userID, DeviceID: id})
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, mxerr.NotFound("you have no such device; it may have been signed out already")
	}
	shown := struct {
		shownDevice
		Delete bool
	}{show(d), remove}
	s, ok, err := schema.OAuthSessions.Get(v.Ctx, p.Store, schema.OAuthSession{UserID: userID, DeviceID: id})
	if err != nil {
		return nil, err
	}
	if ok {
		c, _, err := schema.OAuthClients.Get(v.Ctx, p.Store, schema.OAuthClient{ClientID: s.ClientID})
		if err != nil {
			return nil, err
		}
		shown.Client = Described(c).Site
	}
	title := "Device"
	if remove {
		title = "Sign out this device?"
	}
	return p.Render(http.StatusOK, "device", Shown{Title: title, User: userID, Data: shown})
}

// Description is what people are told about an app.
type Description struct {
	Name   string `json:"client_name"`
	Site   string `json:"client_uri"`
	Policy string `json:"policy_uri"`
	Terms  string `json:"tos_uri"`
}

// Described reads what a client says about itself.
func Described(c schema.OAuthClient) Description {
	var d Description
	if json.Unmarshal(c.Metadata, &d) != nil {
		return Description{}
	}
	if d.Name == "" {
		d.Name = d.Site
	}
	return d
}

func (p *Pages) endDevice(v *View) (any, error) {
	id := v.Form.Get("device_id")
	if id == "" {
		return nil, mxerr.MissingParam("which device")
	}
	if err := p.o.Registrar.RemoveDevices(v.Request, v.Who.Account.UserID, id); err != nil {
		return nil, err
	}
	return Redirect(With(AccountPath, "action", ActionDevices)), nil
}

func (p *Pages) deactivate(v *View) (any, error) {
	if to := p.NeedFresh(v, With(AccountPath, "action", ActionDeactivate)); to != nil {
		return to, nil
	}
	if v.Form.Get("sure") == "" {
		return nil, mxerr.InvalidParam("the box \"I want to end my account\" is not ticked")
	}
	if err := p.o.Registrar.Deactivate(v.Request, v.Who.Account.UserID, v.Form.Get("erase") != ""); err != nil {
		return nil, err
	}
	return p.Render(http.StatusOK, "message", Shown{Title: "The account has ended", Data: "You can close this page."}, p.Cookie(cookieName, "", -1))
}

// allowReset lets the user's app replace the cross-signing keys (client-server API, "OAuth authentication").
func (p *Pages) allowReset(v *View) (any, error) {
	if to := p.NeedFresh(v, With(AccountPath, "action", ActionReset)); to != nil {
		return to, nil
	}
	err := p.o.Registrar.Ask(v.Request, v.Who.Account.UserID, &messages.AllowCrossSigningReset{ExpiresTs: v.Now.Add(resetLife).UnixMilli()})
	if err != nil {
		return nil, err
	}
	return p.Render(http.StatusOK, "message", Shown{Title: "Go back to your app", User: v.Who.Account.UserID,
		Data: "It can now set up a new digital identity, within 10 minutes."})
}
