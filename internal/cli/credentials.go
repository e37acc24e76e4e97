package cli

import (
	"fmt"

	"chatfs/internal/entity"
	"chatfs/remote"
)

// credentialKeys are settings without a flag: what stands in a command line
// is read by every user of the machine.
var (
	credentialKeys = []string{"token", "client-id", "client-secret", "username", "password"}
	secretKeys     = []string{"token", "client-secret", "password"}
)

// credentials are one way of proving who we are to the service.
type credentials struct {
	kind               string // "token", "client" or "user"; "" for none
	token              entity.Secret
	clientID, username string
	clientSecret       entity.Secret
	password           entity.Secret
	origin             string
}

// fill puts them into a client's configuration.
func (c credentials) fill(conf *remote.Config) {
	conf.Token, conf.ClientID, conf.ClientSecret = c.token, c.clientID, c.clientSecret
	conf.Username, conf.Password = c.username, c.password
}

// String tells which credentials these are, without any secret.
func (c credentials) String() string {
	switch c.kind {
	case "token":
		return "a given token"
	case "client":
		return "client id " + c.clientID
	case "user":
		return "user " + c.username
	}
	return "none"
}

// pickCredentials takes them from the highest layer that sets any part; the
// other part may stand in a lower one. In one layer a token goes before a
// client, a client before a user.
func pickCredentials(layers []layer) (credentials, error) {
	get := func(key string) string {
		for _, l := range layers {
			if v, ok := l.values[key]; ok {
				return fmt.Sprint(v)
			}
		}
		return ""
	}
	for _, l := range layers {
		has := func(key string) bool { _, ok := l.values[key]; return ok }
		switch {
		case has("token"):
			return credentials{kind: "token", token: entity.NewSecret(get("token")), origin: l.name}, nil
		case has("client-id") || has("client-secret"):
			c := credentials{kind: "client", clientID: get("client-id"), origin: l.name,
				clientSecret: entity.NewSecret(get("client-secret"))}
			return c, c.complete(c.clientID, c.clientSecret, "client-id", "client-secret")
		case has("username") || has("password"):
			c := credentials{kind: "user", username: get("username"), origin: l.name,
				password: entity.NewSecret(get("password"))}
			return c, c.complete(c.username, c.password, "username", "password")
		}
	}
	return credentials{}, nil
}

func (c credentials) complete(name string, secret entity.Secret, nameKey, secretKey string) error {
	if name == "" {
		return fail(exitUsage, "%s has a %s and nothing has the %s that belongs to it", c.origin, secretKey, nameKey)
	}
	if secret.IsZero() {
		return fail(exitUsage, "%s has a %s and nothing has the %s that belongs to it", c.origin, nameKey, secretKey)
	}
	return nil
}
