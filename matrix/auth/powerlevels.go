package auth

import (
	"slices"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/id"
)

// levelNames are the members of m.room.power_levels that are single levels.
var levelNames = []string{"users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"}

// checkPowerLevels is the rule on m.room.power_levels.
func (c *checker) checkPowerLevels(rule int) error {
	next, err := c.checkPowerLevelsFormat(rule)
	if err != nil || !c.levels.exists {
		return err
	}
	sender := c.levels.User(c.e.Sender())
	old := c.levels.content
	for _, name := range levelNames {
		was, had := parseLevel(member(old, name), c.v)
		is, has := parseLevel(member(c.content, name), c.v)
		if had == has && was == is {
			continue
		}
		if had && sender.Less(Of(was)) {
			return c.reject("the level of "+name+" is above the sender's own", rule, next+1, 1)
		}
		if has && sender.Less(Of(is)) {
			return c.reject("the new level of "+name+" is above the sender's own", rule, next+1, 2)
		}
	}
	maps := []string{"events"}
	if c.v.NotificationLevels {
		maps = append(maps, "notifications")
	}
	for _, name := range maps {
		if err := c.checkEntries(name, sender, rule, next+2); err != nil {
			return err
		}
	}
	return c.checkUsers(sender, rule, next+4)
}

// checkPowerLevelsFormat is the part about types; it gives the number of the rule after it, which allows the first event.
func (c *checker) checkPowerLevelsFormat(rule int) (int, error) {
	usersRule := 1
	if c.v.IntegerPowerLevels {
		usersRule = 3
		for _, name := range levelNames {
			if v := member(c.content, name); v.Exists() && !isLevel(v, c) {
				return 0, c.reject(name+" is not an integer", rule, 1)
			}
		}
		for _, name := range []string{"events", "notifications"} {
			if v := member(c.content, name); v.Exists() && !allLevels(v, c) {
				return 0, c.reject(name+" is not an object of integers", rule, 2)
			}
		}
	}
	next := usersRule + 1
	users := member(c.content, "users")
	if users.Exists() && !allLevels(users, c) {
		return 0, c.reject("users is not an object of integers", rule, usersRule)
	}
	var bad error
	creators := Creators(c.v, c.create)
	users.ForEach(func(userID, _ gjson.Result) bool {
		switch {
		case !id.ValidUser(userID.Str):
			bad = c.reject("users holds "+userID.Str+", which is not a user id", rule, usersRule)
		case c.v.PrivilegedCreators && slices.Contains(creators, userID.Str):
			bad = c.reject("users holds the creator "+userID.Str+", whose power cannot change", rule, 4)
		}
		return bad == nil
	})
	if c.v.PrivilegedCreators {
		next++
	}
	return next, bad
}

func isLevel(v gjson.Result, c *checker) bool {
	_, ok := parseLevel(v, c.v)
	return ok
}

func allLevels(object gjson.Result, c *checker) bool {
	ok := object.IsObject()
	object.ForEach(func(_, v gjson.Result) bool {
		ok = ok && isLevel(v, c)
		return ok
	})
	return ok
}

// entries reads an object of levels.
func (c *checker) entries(content gjson.Result, name string) map[string]int64 {
	m := map[string]int64{}
	member(content, name).ForEach(func(key, v gjson.Result) bool {
		if n, ok := parseLevel(v, c.v); ok {
			m[key.Str] = n
		}
		return true
	})
	return m
}

// checkEntries compares the events, or the notifications, before and after.
func (c *checker) checkEntries(name string, sender Level, rule, changed int) error {
	old, now := c.entries(c.levels.content, name), c.entries(c.content, name)
	for key, was := range old {
		if is, ok := now[key]; (!ok || is != was) && sender.Less(Of(was)) {
			return c.reject("the level of "+key+" is above the sender's own", rule, changed, 1)
		}
	}
	for key, is := range now {
		if was, ok := old[key]; (!ok || is != was) && sender.Less(Of(is)) {
			return c.reject("the new level of "+key+" is above the sender's own", rule, changed+1, 1)
		}
	}
	return nil
}

// checkUsers compares the users before and after: nobody touches those as powerful as they are, but themselves.
func (c *checker) checkUsers(sender Level, rule, changed int) error {
	old, now := c.entries(c.levels.content, "users"), c.entries(c.content, "users")
	for userID, was := range old {
		if is, ok := now[userID]; (!ok || is != was) && userID != c.e.Sender() && !Of(was).Less(sender) {
			return c.reject(userID+" has at least as much power as the sender", rule, changed, 1)
		}
	}
	for userID, is := range now {
		if was, ok := old[userID]; (!ok || is != was) && sender.Less(Of(is)) {
			return c.reject("the new level of "+userID+" is above the sender's own", rule, changed+1, 1)
		}
	}
	return nil
}
