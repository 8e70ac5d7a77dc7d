"""Python's own xmlrpc.client against the lab's pool: instructions as JSON on stdin, observations as JSON on stdout."""

import json
import ssl
import sys
import xmlrpc.client

asked = json.load(sys.stdin)


def server(url):
    # The certificate must be good for the address of the host: the names are checked.
    context = ssl.create_default_context(cafile=asked["caFile"])
    return xmlrpc.client.ServerProxy(url, context=context)


class Failure(Exception):
    pass


def value(answer):
    if answer["Status"] != "Success":
        raise Failure(answer["ErrorDescription"])
    return answer["Value"]


def failure(answer):
    assert answer["Status"] == "Failure" and set(answer) == {"Status", "ErrorDescription"}, answer
    return answer["ErrorDescription"]


seen = {}
member = server(asked["member"])
seen["slave"] = failure(member.session.login_with_password("root", asked["password"], "1.0", "python"))
master = server("https://%s:%d" % (seen["slave"][1], asked["port"]))
seen["wrong"] = failure(master.session.login_with_password("root", "wrong"))
seen["methods"] = len(master.system.listMethods())
session = value(master.session.login_with_password("root", asked["password"], "1.0", "python"))

where = 'field "is_a_template" = "false" and not (field "is_control_domain" = "true")'
vms = value(master.VM.get_all_records_where(session, where))
seen["vms"] = sorted(record["name_label"] for record in vms.values())
vm = value(master.VM.get_by_name_label(session, asked["vm"]))[0]
record = value(master.VM.get_record(session, vm))
seen["types"] = {
    name: type(record[name]).__name__
    for name in ["name_label", "memory_static_max", "is_a_template", "snapshot_time", "VBDs", "other_config", "HVM_shadow_multiplier"]
}
snapshot = value(master.VM.snapshot(session, vm, "by Python <&>"))
frozen = value(master.VM.get_record(session, snapshot))
seen["snapshot"] = {
    "name": frozen["name_label"],
    "of": frozen["snapshot_of"] == vm,
    "time": frozen["snapshot_time"].value,
    "listed": value(master.VM.get_snapshots(session, vm)) == [snapshot],
}
# "from" is a word of Python's own.
events = value(getattr(master.event, "from")(session, ["VM/%s" % snapshot, "SR"], "", 0.5))
seen["events"] = sorted({event["class"] + " " + event["operation"] for event in events["events"]})
seen["counted"] = {name: type(count).__name__ for name, count in events["valid_ref_counts"].items()}

master.VM.add_to_other_config(session, snapshot, "k", "v")
seen["twice"] = failure(master.VM.add_to_other_config(session, snapshot, "k", "w"))[:3]
value(master.VM.remove_from_other_config(session, snapshot, "k"))
vdis = [value(master.VBD.get_record(session, vbd)) for vbd in frozen["VBDs"]]
value(master.VM.destroy(session, snapshot))
for vbd in vdis:
    if vbd["type"] == "Disk":
        value(master.VDI.destroy(session, vbd["VDI"]))
seen["gone"] = failure(master.VM.get_record(session, snapshot))[:2]
seen["count"] = failure(master.VM.snapshot(session, vm))
seen["unknown"] = failure(master.VM.fly(session, vm))
seen["type"] = failure(master.VM.set_memory_static_max(session, vm, "much"))
value(master.session.logout(session))
seen["after"] = failure(master.VM.get_all(session))[0]
json.dump(seen, sys.stdout)
