package console

import (
	"fmt"
	"net/url"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/admin"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// usersShown is a page of accounts.
type usersShown struct {
	Users []userShown
	Match string
	More  string // the address of the next page
}

// userShown is an account.
type userShown struct {
	admin.User
	Self bool // the administrator's own
}

func (c *console) users(v *view) (string, any, error) {
	p := v.part()
	found, err := c.Operator.Users(v.Ctx, p)
	page := usersShown{Match: p.Match, More: following(Base+"/users", found.Next, url.Values{"match": {p.Match}})}
	for _, u := range found.Users {
		page.Users = append(page.Users, userShown{u, u.UserID == v.User()})
	}
	return "Users", page, err
}

// accountShown is an account with its actor.
type accountShown struct {
	Account userShown
	Devices []admin.Device
	Actor   actorShown
}

func (c *console) user(v *view) (string, any, error) {
	u, err := c.Operator.User(v.Ctx, v.Vars["user"])
	if err != nil {
		return "", nil, err
	}
	page := accountShown{Account: userShown{u, u.UserID == v.User()}}
	if !fragment(v.Request) { // devices are not looked at every two seconds
		list, err := c.Operator.Devices(v.Ctx, u.UserID)
		if err != nil {
			return "", nil, err
		}
		page.Devices = list.Devices
	}
	page.Actor, err = c.showActor(v, cluster.KindUser, u.UserID)
	return u.UserID, page, err
}

// logOut leaves nothing in the place of the device.
func (c *console) logOut(v *view) (outcome, error) {
	device := v.form.Get("device")
	if _, err := c.Operator.LogOut(v.Ctx, v.by(), v.Vars["user"], admin.LogOut{Devices: []string{device}}); err != nil {
		return outcome{}, err
	}
	return outcome{notice: "The device " + device + " is logged out", page: "user", block: "gone"}, nil
}

// redact redacts as many messages of a user as one request does. What is left is asked for by the same button.
func (c *console) redact(v *view) (outcome, error) {
	done, err := c.Operator.RedactUser(v.Ctx, v.by(), v.Vars["user"], admin.Redacting{})
	if err != nil {
		return outcome{}, err
	}
	notice := fmt.Sprintf("%d messages are redacted", done.Redacted)
	if len(done.Failed) > 0 {
		notice += fmt.Sprintf("; of %d events or rooms it was not possible", len(done.Failed))
	}
	if done.Next != "" {
		notice += "; there are more: press again"
	}
	return outcome{notice: notice}, nil
}

// changes are what the buttons of an account do, and what is told afterwards.
var changes = map[string]struct {
	change admin.Change
	told   string
}{
	"lock":       {admin.Change{Locked: new(true)}, "is locked"},
	"unlock":     {admin.Change{Locked: new(false)}, "is unlocked"},
	"suspend":    {admin.Change{Suspended: new(true)}, "is suspended and can only read"},
	"unsuspend":  {admin.Change{Suspended: new(false)}, "is no longer suspended"},
	"promote":    {admin.Change{Admin: new(true)}, "is an administrator"},
	"demote":     {admin.Change{Admin: new(false)}, "is no longer an administrator"},
	"deactivate": {admin.Change{Deactivate: true}, "is deactivated"},
}

// changeUser answers with the account's row as it is then.
func (c *console) changeUser(v *view) (outcome, error) {
	what, ok := changes[v.form.Get("change")]
	if !ok {
		return outcome{}, mxerr.InvalidParam("an account cannot be changed like that")
	}
	u, err := c.Operator.User(v.Ctx, v.Vars["user"])
	if err == nil && u.UserID == v.User() {
		err = mxerr.Forbidden("nobody changes their own account here: another administrator can, or the command line")
	}
	if err == nil {
		u, err = c.Operator.Change(v.Ctx, v.by(), u.UserID, what.change)
	}
	if err != nil {
		return outcome{}, err
	}
	return outcome{notice: u.UserID + " " + what.told, page: "users", block: "user-row", data: userShown{User: u}}, nil
}
