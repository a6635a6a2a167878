package browser

import (
	"net/http"
	"strings"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/address"
	"github.com/matrixon/matrixon/http/api/secret"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The paths of what goes by way of an email address, whose owner shows that a message has come.
const (
	finishPath = SignUpPath + "/finish"
	forgotPath = Base + "/forgotten"
	renewPath  = Base + "/new-password"
)

// The matters for which the box seals what comes back with the link of a message.
const (
	signUpMatter = "sign-up by mail"
	renewMatter  = "new password by mail"
)

// mailed is what comes back with the link of a message.
type mailed struct {
	SID      string `json:"i"`
	Secret   string `json:"s"`
	Name     string `json:"n,omitzero"` // of the account to be made, with the hash of its password and the registration token
	Hash     string `json:"h,omitzero"`
	Token    string `json:"t,omitzero"`
	Next     string `json:"x"`
	Deadline int64  `json:"e"`
}

func (p *Pages) byMail() []api.Endpoint {
	if p.o.Addresses == nil {
		return nil
	}
	return []api.Endpoint{
		p.Page(get, finishPath, p.finishPage), p.Page(post, finishPath, p.finish),
		p.Page(get, forgotPath, p.forgotPage), p.Page(post, forgotPath, p.forgot),
		p.Page(get, renewPath, p.renewPage), p.Page(post, renewPath, p.renew),
	}
}

// send sends a message to an address, whose link leads to a path with what is to come back.
func (p *Pages) send(v *View, q address.Request, path, matter string, m mailed) error {
	q.ClientSecret, q.SendAttempt = secret.New(secret.Session), 1
	m.SID, m.Secret, m.Deadline = q.ID(), q.ClientSecret, v.Now.Add(address.Lifetime).UnixMilli()
	sealed, err := p.o.Box.Seal(matter, m)
	if err != nil {
		return err
	}
	q.NextLink = p.URL(With(path, "carried", sealed))
	_, err = p.o.Addresses.Begin(v.Ctx, v.Now, q, func() error { return v.TakeFor(api.LimitEmail, q.Address) })
	return err
}

// carried reads what has come back.
func (p *Pages) carried(v *View, matter string) (sealed string, m mailed, err error) {
	sealed = v.Param("carried")
	if v.Form != nil {
		sealed = v.Form.Get("carried")
	}
	if !p.o.Box.Open(matter, sealed, &m) || v.Now.UnixMilli() >= m.Deadline {
		err = mxerr.InvalidParam("this link is too old; begin anew")
	}
	return sealed, m, err
}

// confirmFirst sends the message on which an account waits.
func (p *Pages) confirmFirst(v *View, f signUpForm, hash string) (any, error) {
	addr, ok := address.Canonical(f.Email)
	if !ok {
		return p.showSignUp(http.StatusBadRequest, f, "The email address is not valid.")
	}
	_, taken, err := schema.ThirdPartyIDs.Get(v.Ctx, p.Store, schema.ThirdPartyID{Medium: account.Email, Address: addr})
	if err == nil && taken {
		err = account.ThirdPartyIDInUse()
	}
	if err == nil {
		err = p.send(v, address.Request{Purpose: address.Register, Address: addr}, finishPath, signUpMatter, mailed{Name: f.Name, Hash: hash, Token: f.Token, Next: f.Next})
	}
	if refused := Refusal(err); refused != nil {
		return p.showSignUp(refused.Status, f, sentence(refused.Message))
	}
	if err != nil {
		return nil, err
	}
	return p.Render(http.StatusOK, "message", Shown{Title: "Look into your mail", Data: "A message with a link is on its way to " + addr + ". The account is made when you have followed it."})
}

func (p *Pages) finishPage(v *View) (any, error) {
	sealed, m, err := p.carried(v, signUpMatter)
	if err != nil {
		return nil, err
	}
	return p.Render(http.StatusOK, "finish", Shown{Title: "Make the account " + m.Name, Data: struct{ Self, Carried string }{finishPath, sealed}})
}

// finish makes the account of an address that was confirmed.
func (p *Pages) finish(v *View) (any, error) {
	_, m, err := p.carried(v, signUpMatter)
	if err != nil {
		return nil, err
	}
	if err := p.signUpOpen(); err != nil {
		return nil, err
	}
	userID, err := p.o.Registrar.Free(v.Request, m.Name)
	if err != nil {
		return nil, err
	}
	proven, err := p.o.Addresses.Use(v.Ctx, v.Now, address.Register, m.SID, m.Secret)
	if err != nil {
		return nil, err
	}
	err = p.o.Registrar.Ask(v.Request, userID, &messages.RegisterAccount{PasswordHash: m.Hash, RegistrationToken: m.Token,
		ThirdPartyId: &messages.AddThirdPartyID{Medium: account.Email, Address: proven.Address, ValidatedTs: proven.TS}})
	if err != nil {
		return nil, err
	}
	cookie, err := p.SignIn(v.Request, userID)
	if err != nil {
		return nil, err
	}
	return Redirect(Local(m.Next), cookie), nil
}

// forgotForm is what is shown to who has forgotten the password.
type forgotForm struct{ Self, Next, Email string }

func (p *Pages) forgotPage(v *View) (any, error) {
	return p.showForgot(http.StatusOK, forgotForm{Next: Local(v.Param("next"))}, "")
}

func (p *Pages) showForgot(status int, f forgotForm, problem string) (any, error) {
	f.Self = forgotPath
	return p.Render(status, "forgot", Shown{Title: "A new password", Error: problem, Data: f})
}

// forgot sends a message to the address of an account. Whether there is one is not told.
func (p *Pages) forgot(v *View) (any, error) {
	v.Session = nil // whoever is signed in with this browser, attempts count for the address
	if err := v.Take(api.LimitLogin); err != nil {
		return nil, err
	}
	f := forgotForm{Next: Local(v.Form.Get("next")), Email: strings.TrimSpace(v.Form.Get("email"))}
	addr, ok := address.Canonical(f.Email)
	if !ok {
		return p.showForgot(http.StatusBadRequest, f, "The email address is not valid.")
	}
	owner, found, err := schema.ThirdPartyIDs.Get(v.Ctx, p.Store, schema.ThirdPartyID{Medium: account.Email, Address: addr})
	if err == nil && found {
		err = p.send(v, address.Request{Purpose: address.Password, Address: addr, UserID: owner.UserID}, renewPath, renewMatter, mailed{Next: f.Next})
	}
	if err != nil {
		return nil, err
	}
	return p.Render(http.StatusOK, "message", Shown{Title: "Look into your mail", Data: "If " + addr + " belongs to an account, a message with a link is on its way."})
}

// renewForm is what is shown to who sets a new password.
type renewForm struct{ Self, Carried string }

func (p *Pages) renewPage(v *View) (any, error) {
	sealed, _, err := p.carried(v, renewMatter)
	if err != nil {
		return nil, err
	}
	return p.showRenew(http.StatusOK, sealed, "")
}

func (p *Pages) showRenew(status int, sealed, problem string) (any, error) {
	return p.Render(status, "renew", Shown{Title: "A new password", Error: problem, Data: renewForm{renewPath, sealed}})
}

// renew sets the password of the account to which a confirmed address belongs, and signs out all devices: somebody else may have known the old one.
func (p *Pages) renew(v *View) (any, error) {
	sealed, m, err := p.carried(v, renewMatter)
	if err != nil {
		return nil, err
	}
	if v.Form.Get("password") != v.Form.Get("again") {
		return p.showRenew(http.StatusBadRequest, sealed, "The two passwords are not the same.")
	}
	hash, err := p.o.Registrar.Hash(v.Request, v.Form.Get("password"))
	if refused := Refusal(err); refused != nil {
		return p.showRenew(refused.Status, sealed, sentence(refused.Message))
	}
	if err != nil {
		return nil, err
	}
	proven, err := p.o.Addresses.Use(v.Ctx, v.Now, address.Password, m.SID, m.Secret)
	if err != nil {
		return nil, err
	}
	owner, found, err := schema.ThirdPartyIDs.Get(v.Ctx, p.Store, schema.ThirdPartyID{Medium: account.Email, Address: proven.Address})
	if err != nil {
		return nil, err
	}
	if !found || owner.UserID != proven.UserID {
		return nil, mxerr.Forbidden("the address does not belong to the account any more")
	}
	if err := p.o.Registrar.SetPassword(v.Request, owner.UserID, hash, true); err != nil {
		return nil, err
	}
	cookie, err := p.SignIn(v.Request, owner.UserID)
	if err != nil {
		return nil, err
	}
	return Redirect(Local(m.Next), cookie), nil
}
