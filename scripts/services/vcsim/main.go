// A vCenter for tests: govmomi's simulator behind TLS, and before it a front (front.go) that adds what a client of
// datastores can tell from a real one. User `user`, password `open&<sesame>`; datacenter DC0 with LocalDS_0 and LocalDS_1, whose
// files lie below TMPDIR.
package main

import (
	"flag"
	"log"
	"net"
	"net/http"
	"net/url"

	"github.com/vmware/govmomi/simulator"
)

func main() {
	address := flag.String("address", "127.0.0.2", "where to listen; the port is 443")
	certificate := flag.String("cert", "", "file with the certificate")
	key := flag.String("key", "", "file with its key")
	control := flag.String("control", "", "file: while it is there, its word is obeyed, once; see front.go")
	flag.Parse()

	model := simulator.VPX()
	model.Datastore = 2
	model.ClusterHost = 1
	model.Machine = 0 // the disks of machines would take more room than a small datastore has
	if err := model.Create(); err != nil {
		log.Fatal(err)
	}
	model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword("user", "open&<sesame>")}
	model.Service.NewServer() // fills the mux; its own listener is not used

	server := http.Server{
		Addr:    net.JoinHostPort(*address, "443"),
		Handler: newFront(model.Service.ServeMux, *control),
	}
	log.Fatal(server.ListenAndServeTLS(*certificate, *key))
}
