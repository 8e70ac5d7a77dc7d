// vCenter simulator of the govmomi project, as a program for tests: nobody of this project wrote the server.
//
// Prints one line of JSON with the URL, the fingerprints of its certificate and the datastore directory, and ends
// when its standard input is closed, so that it cannot outlive the test that started it.
//
// User and password come from VCSIM_USER and VCSIM_PASSWORD: any other login is refused.
package main

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
)

type banner struct {
	URL         string            `json:"url"`
	User        string            `json:"user"`
	Fingerprint string            `json:"fingerprint"`
	Thumbprint  string            `json:"thumbprint"`
	Certificate string            `json:"certificate"`
	Datastore   string            `json:"datastore"`
	Datastores  map[string]string `json:"datastores"`
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	idle := flag.Duration("idle", 30*time.Minute, "end a session after this idle time")
	esx := flag.Bool("esx", false, "be a single ESXi host")
	machines := flag.Int("machines", 2, "virtual machines per resource pool")
	folders := flag.Int("folders", 0, "folders to nest the inventory in")
	flag.Parse()

	model := simulator.VPX()
	if *esx {
		model = simulator.ESX()
	} else {
		model.Folder = *folders
	}
	model.Machine = *machines
	simulator.SessionIdleTimeout = *idle
	if err := model.Create(); err != nil {
		log.Fatal(err)
	}
	defer model.Remove()

	user := os.Getenv("VCSIM_USER")
	model.Service.Listen = &url.URL{Host: *listen, User: url.UserPassword(user, os.Getenv("VCSIM_PASSWORD"))}
	model.Service.TLS = new(tls.Config)
	model.Service.RegisterEndpoints = true
	server := model.Service.NewServer()
	defer server.Close()

	der := server.TLS.Certificates[0].Certificate[0]
	out := banner{
		URL:         "https://" + server.URL.Host,
		User:        user,
		Fingerprint: pairs(fmt.Sprintf("%X", sha256.Sum256(der))),
		Thumbprint:  pairs(fmt.Sprintf("%X", sha1.Sum(der))),
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		Datastores:  map[string]string{},
	}
	for _, entity := range simulator.Map.All("Datastore") {
		info := entity.(mo.Reference).(*simulator.Datastore)
		dir := info.Info.GetDatastoreInfo().Url
		out.Datastores[info.Name] = dir
		if out.Datastore == "" || info.Name == "LocalDS_0" {
			out.Datastore = dir
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		log.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func pairs(hex string) string {
	parts := make([]string, 0, len(hex)/2)
	for i := 0; i < len(hex); i += 2 {
		parts = append(parts, hex[i:i+2])
	}
	return strings.Join(parts, ":")
}
