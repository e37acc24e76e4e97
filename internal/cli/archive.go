package cli

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// An archive is the index's database, compressed with gzip, whose comment is
// the service that the names lead to, and encrypted with age unless that was
// refused.

// passphraseVariable holds a passphrase for who can't be asked.
const passphraseVariable = envPrefix + "BACKUP_PASSPHRASE"

// ageMagic begins what age has encrypted; scryptMagic, with a passphrase.
const (
	ageMagic    = "age-encryption.org/v1\n"
	scryptMagic = ageMagic + "-> scrypt "
)

// keyFlags say how an archive is encrypted, or opened.
type keyFlags struct {
	recipients     []string
	plaintext      bool
	identity       string
	passphraseFile string
}

func (k *keyFlags) registerSealing(f *pflag.FlagSet) {
	f.StringArrayVar(&k.recipients, "recipient", nil, "encrypt to this age `key` (age1…) instead of a passphrase; may be repeated")
	f.BoolVar(&k.plaintext, "plaintext", false, "do not encrypt")
	f.StringVar(&k.passphraseFile, "passphrase-file", "", "`file` whose first line is the passphrase")
}

func (k *keyFlags) registerOpening(f *pflag.FlagSet) {
	f.StringVar(&k.identity, "identity", "", "`file` with the age identity that opens the backup")
	f.StringVar(&k.passphraseFile, "passphrase-file", "", "`file` whose first line is the passphrase")
}

// seals are who will be able to open an archive; none is everybody.
func (k *keyFlags) seals(cmd *cobra.Command) ([]age.Recipient, error) {
	if k.plaintext {
		if len(k.recipients) > 0 || k.passphraseFile != "" {
			return nil, fail(exitUsage, "--plaintext, and a key to encrypt with: choose one")
		}
		return nil, nil
	}
	var seals []age.Recipient
	for _, text := range k.recipients {
		r, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil {
			return nil, fail(exitUsage, "--recipient %q is no age key: %w", text, err)
		}
		seals = append(seals, r...)
	}
	if len(seals) > 0 {
		return seals, nil
	}
	passphrase, err := k.passphrase(cmd, true)
	if err != nil {
		return nil, err
	}
	r, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, fail(exitUsage, "passphrase: %w", err)
	}
	return []age.Recipient{r}, nil
}

// passphrase is the file's, the environment's, or what a person answers:
// twice, if it is a new one.
func (k *keyFlags) passphrase(cmd *cobra.Command, isNew bool) (string, error) {
	if k.passphraseFile != "" {
		f, err := os.Open(k.passphraseFile)
		if err != nil {
			return "", fail(exitUsage, "--passphrase-file: %w", err)
		}
		defer f.Close()
		line, err := readLine(bufio.NewReader(f))
		if err != nil {
			return "", fail(exitUsage, "--passphrase-file %s: its first line is empty", k.passphraseFile)
		}
		return line, nil
	}
	if p := os.Getenv(passphraseVariable); p != "" {
		return p, nil
	}
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !isTerminal(in) {
		return "", fail(exitUsage, "no passphrase, and no terminal to ask for it: set %s, or --passphrase-file, or an age key (see %s --help)",
			passphraseVariable, cmd.CommandPath())
	}
	return askPassphrase(in, cmd.ErrOrStderr(), isNew)
}

func askPassphrase(in *os.File, out io.Writer, isNew bool) (string, error) {
	lines := bufio.NewReader(in)
	ask := func(prompt string) (string, error) {
		fmt.Fprint(out, prompt)
		restore := hideInput(in)
		defer fmt.Fprintln(out)
		defer restore()
		return readLine(lines)
	}
	first, err := ask("Passphrase of the backup: ")
	if err != nil || !isNew {
		return first, err
	}
	second, err := ask("The same again: ")
	if err == nil && first != second {
		return "", fail(exitUsage, "the two passphrases differ")
	}
	return first, err
}

// writeArchive writes an archive of what fill writes. After an error what was
// written has no end, so that nobody takes it for a whole one.
func writeArchive(w io.Writer, service string, seals []age.Recipient, fill func(io.Writer) error) error {
	sealed := io.WriteCloser(nopCloser{w})
	if len(seals) > 0 {
		var err error
		if sealed, err = age.Encrypt(w, seals...); err != nil {
			return err
		}
	}
	zip, err := gzip.NewWriterLevel(sealed, gzip.BestSpeed)
	if err != nil {
		return err
	}
	zip.Comment = service
	if err := fill(zip); err != nil {
		return err
	}
	return errors.Join(zip.Close(), sealed.Close())
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// readArchive opens an archive for reading the database; its end tells whether
// all was as it was written.
func (k *keyFlags) readArchive(cmd *cobra.Command, r io.Reader) (db io.Reader, service string, err error) {
	in := bufio.NewReader(r)
	head, err := in.Peek(len(scryptMagic))
	if err != nil {
		return nil, "", fmt.Errorf("it is no backup: %w", err)
	}
	opened := io.Reader(in)
	if bytes.HasPrefix(head, []byte(ageMagic)) {
		identities, err := k.identities(cmd, string(head) == scryptMagic)
		if err != nil {
			return nil, "", err
		}
		opened, err = age.Decrypt(in, identities...)
		var wrong *age.NoIdentityMatchError
		if errors.As(err, &wrong) {
			return nil, "", fail(exitUsage, "the passphrase or identity is not the one that it was encrypted to")
		} else if err != nil {
			return nil, "", fmt.Errorf("it can't be decrypted: %w", err)
		}
	}
	zip, err := gzip.NewReader(opened)
	if err != nil {
		return nil, "", fmt.Errorf("it is no backup: %w", err)
	}
	return zip, zip.Comment, nil
}

func (k *keyFlags) identities(cmd *cobra.Command, byPassphrase bool) ([]age.Identity, error) {
	if byPassphrase {
		passphrase, err := k.passphrase(cmd, false)
		if err != nil {
			return nil, err
		}
		id, err := age.NewScryptIdentity(passphrase)
		return []age.Identity{id}, err
	}
	if k.identity == "" {
		return nil, fail(exitUsage, "it is encrypted to an age key: give --identity FILE")
	}
	f, err := os.Open(k.identity)
	if err != nil {
		return nil, fail(exitUsage, "--identity: %w", err)
	}
	defer f.Close()
	ids, err := age.ParseIdentities(f)
	if err != nil {
		return nil, fail(exitUsage, "--identity %s: %w", k.identity, err)
	}
	return ids, nil
}
