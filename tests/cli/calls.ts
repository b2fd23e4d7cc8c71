// SPDX-License-Identifier: Apache-2.0
/**
 * Calls of dpctl and ovs-dpctl, right and wrong, that must come to the same on the kernel's
 * datapath.
 *
 * @module
 */

/**
 * One call: a line of words for dpctl, split like a shell does, with what it reads from standard
 * input.
 */
export interface Call {
  readonly words: readonly string[];
  readonly input?: string;
  /** A line of shell between the calls instead. */
  readonly shell?: string;
}

/** Splits a line at white space, but not inside single quotes. */
function split(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) =>
    quoted ?? plain ?? ""
  );
}

function lines(text: string): Call[] {
  return text.split("\n").map((line) => line.trim()).filter((line) => line !== "")
    .map((line) =>
      line.startsWith("$ ") ? { words: [], shell: line.slice(2) } : { words: split(line) }
    );
}

const file = `# flows of a test
in_port(1),eth(),eth_type(0x0806),arp() 2

add in_port(2),eth(),eth_type(0x0806),arp() 1  # the other way
modify in_port(1),eth(),eth_type(0x0806),arp() 1,2
delete in_port(2),eth(),eth_type(0x0806),arp()
in_port(3)
delete in_port(1) 2
mod in_port(9),eth(),eth_type(0x0806),arp() 1
in_port(7),nonsense() 1
in_port(7),eth(),eth_type(0x0806),arp() nonsense
`;

/**
 * All calls. They run in order, on one kernel, with no datapath at first.
 *
 * Left out is what version 3.1 of ovs-dpctl does wrong: a tunnel port without `remote_ip=flow`
 * fails without a word, and a complete tuple cannot be flushed, nor any where the kernel has no
 * zones. So are arguments that it takes and does nothing with (`dump-flows d0 extra`), and failures
 * with exit status 0 (a file that is not there, `get-flow d0 nonsense`), and names of ports in
 * actions, which it prints and does not take. So is the action `drop`:
 * ovs-dpctl sends an attribute for it that kernels before 6.6 refuse, and here it is the empty
 * list, which every kernel takes.
 */
export const calls: readonly Call[] = [
  ...lines(`
    dump-dps
    show
    show nothere
    add-dp
    nonsense
    --nonsense show
    -x show
    -t nonsense show
    --timeout=0 show
    --names=1 show
    dump-flows
    add-flow in_port(1) 1
    del-dp nothere
    del-dp
    del-dp a b
    add-if nothere eth0
    add-if nothere
    --read-only add-dp d0
    add-dp nosuchtype@d0
    add-dp /bad/
    add-dp d0
    add-dp d0
    add-dp system@d0
    dump-dps
    show
    show d0
    show system@d0
    show netdev@d0
    show d0 nothere d0
    add-if d0 nodevice
    add-if d0 nodevice,type=nosuchtype
    add-if d0 i1,type=internal
    add-if d0 i1,type=internal
    add-if d0 i2,type=internal,port_no=7 i3,type=internal
    add-if d0 i4,type=internal,port_no=7
    add-if d0 i5,type=internal,port_no=0
    add-if d0 i6,type=internal,port_no=70000
    $ ip link add v0 type veth peer name v1
    $ ip link add v2 type veth peer name v3
    $ ip link set v1 up; ip link set v3 up
    add-if d0 v0 v2
    add-if d0 v0
    add-if d0 v0,type=system,port_no=20
    $ ip -br link show v0 | cut -c1-20
    add-dp d1 v1
    show
    -s show d0
    --statistics show d1
    del-if d0 nosuchport
    del-if d0 99
    del-if d0 0
    del-if d0 i3 nosuchport 7
    del-if d0
    set-if d0 nosuchport
    set-if d0 i1
    set-if d0 i1,type=internal
    set-if d0 i1,type=system
    set-if d0 i1,port_no=1
    set-if d0 i1,port_no=4
    set-if nothere i1
    show d0
    dump-flows
    add-flow in_port(1) 1
    del-dp d1
    dump-dps
    add-flow in_port(1),eth(),eth_type(0x0806),arp() 4
    add-flow in_port(1),eth(),eth_type(0x0806),arp() 4
    add-flow d0 in_port(4),eth(),eth_type(0x0806),arp() 1
    add-flow d0 'in_port(v0),eth(),eth_type(0x0800),ipv4(src=10.0.0.0/255.255.255.0,proto=6,frag=no),tcp(src=80,dst=0/0)' 'set(ipv4(ttl=3)),nothere'
    add-flow d0 'in_port(v0),eth(),eth_type(0x0800),ipv4(src=10.0.0.0/255.255.255.0,proto=6,frag=no),tcp(src=80,dst=0/0),tcp_flags(0/0)' 'set(ipv4(src=10.0.0.9)),1'
    add-flow d0 'in_port(i1),eth(src=02:00:00:00:00:01),eth_type(0x86dd),ipv6(src=fe80::/ffff::,proto=17,frag=no),udp(dst=53)' 1
    add-flow d0 'in_port(1),eth(),eth_type(0x8100),vlan(vid=5,pcp=0),encap(eth_type(0x0800),ipv4(frag=no))' pop_vlan,4
    add-flow d0 'in_port(1),eth(),eth_type(0x0800),ipv4(proto=1,frag=no),icmp(type=8,code=0)' 'push_vlan(vid=9,pcp=1),4,pop_vlan,userspace(pid=7,slow_path(controller))'
    add-flow d0 'recirc_id(7),in_port(1),eth(),eth_type(0x0800),ipv4(frag=no)' 'ct(commit,zone=3,mark=0x1),recirc(8)'
    add-flow 'ufid:11111111-2222-3333-4444-555555555555 in_port(5),eth(),eth_type(0x0806),arp(op=1)' 1
    add-flow 'ufid:1111-2222 in_port(5),eth(),eth_type(0x0806),arp(op=1)' 1
    get-flow ufid:11111111-2222-3333-4444-555555555555
    -m get-flow ufid:11111111-2222-3333-4444-555555555555
    get-flow d0 ufid:11111111-2222-3333-4444-555555555556
    get-flow nothere ufid:11111111-2222-3333-4444-555555555555
    add-flow d0 nonsense 1
    add-flow d0 'in_port(1),eth(),nonsense()' 1
    add-flow d0 'in_port(1),eth(),eth_type(0x0800),ipv4(src=1.2.3)' 1
    add-flow d0 'in_port(1),eth(),eth_type(0x0806),arp(op=x)' 1
    add-flow d0 'in_port(nosuchport),eth()' 1
    add-flow d0 in_port(1),eth(),eth_type(0x0806),arp() nonsense
    add-flow d0 in_port(1),eth(),eth_type(0x0806),arp() 1,,2
    add-flow d0 'in_port(1),eth(),eth_type(0x0800),tcp(src=1)' 1
    add-flow d0 'in_port(1),eth_type(0x0806),arp()' 1
    add-flow nothere in_port(1),eth(),eth_type(0x0806),arp() 1
    add-flow in_port(1)
    add-flow a b c d
    dump-flows
    dump-flows d0
    dump-flows nothere
    -m dump-flows
    -m --no-names dump-flows d0
    --names dump-flows
    --more dump-flows d0
    dump-flows type=ovs
    dump-flows d0 type=all
    dump-flows pmd=-1
    dump-flows filter=arp
    dump-flows d0 filter=in_port=1
    dump-flows filter=in_port=v0
    dump-flows filter=ip
    dump-flows filter=tcp,tp_src=80
    dump-flows filter=ip,nw_src=10.0.0.5
    dump-flows filter=ip,nw_src=10.0.1.5
    dump-flows filter=dl_vlan=5
    dump-flows filter=ipv6,dl_src=02:00:00:00:00:01
    dump-flows filter=udp6,udp_dst=53
    dump-flows filter=icmp
    dump-flows filter=recirc_id=7
    mod-flow in_port(4),eth(),eth_type(0x0806),arp() 1,4
    -s mod-flow d0 in_port(4),eth(),eth_type(0x0806),arp() 2
    --statistics --clear mod-flow d0 in_port(4),eth(),eth_type(0x0806),arp() 1
    mod-flow d0 in_port(40),eth(),eth_type(0x0806),arp() 1
    --may-create mod-flow d0 in_port(40),eth(),eth_type(0x0806),arp() 1
    -s --may-create mod-flow d0 in_port(41),eth(),eth_type(0x0806),arp() 1
    mod-flow nothere in_port(40),eth(),eth_type(0x0806),arp() 1
    -s del-flow in_port(40),eth(),eth_type(0x0806),arp()
    del-flow d0 in_port(40),eth(),eth_type(0x0806),arp()
    del-flow d0 ufid:11111111-2222-3333-4444-555555555555
    del-flow d0 nonsense
    del-flow d0 in_port(1),eth(),eth_type(0x0806),arp(
    del-flow nothere in_port(41),eth(),eth_type(0x0806),arp()
    del-flow
    dump-flows d0
    --read-only add-flow d0 in_port(1) 1
    --read-only dump-flows d0
    del-flows a b c
    del-flows d0
    dump-flows d0
  `),
  { words: ["add-flows", "d0", "-"], input: file },
  { words: ["dump-flows", "d0"] },
  { words: ["mod-flows", "d0", "-"], input: file },
  { words: ["dump-flows", "d0"] },
  { words: ["del-flows", "d0", "-"], input: "in_port(1),eth(),eth_type(0x0806),arp()\n" },
  { words: ["dump-flows", "d0"] },
  ...lines(`
    add-flow d0 in_port(1),eth(),eth_type(0x0806),arp() 4
    del-flows
    dump-flows
    $ conntrack -I -s 10.1.0.1 -d 10.1.0.2 -p tcp --sport 1000 --dport 80 --state ESTABLISHED -t 600 -u SEEN_REPLY,ASSURED
    $ conntrack -I -s 10.1.0.1 -d 10.1.0.2 -p tcp --sport 1001 --dport 80 --state SYN_RECV -t 600
    $ conntrack -I -s 10.1.0.1 -d 10.1.0.2 -p tcp --sport 1002 --dport 80 --state TIME_WAIT -t 600 -m 5
    $ conntrack -I -s 10.1.0.1 -d 10.1.0.2 -p udp --sport 53 --dport 53 -t 600
    $ conntrack -I -s 10.1.0.1 -d 10.1.0.2 -p icmp --icmp-type 8 --icmp-code 0 --icmp-id 77 -t 600
    $ conntrack -I -s fc00::1 -d fc00::2 -p udp --sport 54 --dport 53 -t 600
    $ conntrack -I -s 10.1.0.3 -d 10.1.0.4 -p udp --sport 1 --dport 2 -t 600 --src-nat 10.9.9.9
    dump-conntrack
    dump-conntrack d0 zone=0
    -m dump-conntrack
    -s dump-conntrack d0
    ct-stats-show
    -m ct-stats-show
    ct-bkts
    flush-conntrack
    dump-conntrack
    offload-stats-show
    offload-stats-show d0
    cache-get-size
    cache-get-size d0
    cache-get-size nothere
    cache-set-size d0 masks-cache 512
    cache-set-size d0 masks-cache 100
    cache-set-size d0 masks-cache x
    cache-set-size d0 masks-cache 999999999
    cache-set-size d0 nosuchcache 5
    cache-set-size nothere masks-cache 5
    cache-set-size d0 masks-cache
    cache-get-size d0
    dump-conntrack
    dump-conntrack d0
    dump-conntrack zone=5
    dump-conntrack nothere
    -m -s dump-conntrack d0 zone=5
    flush-conntrack
    flush-conntrack zone=5
    flush-conntrack zone=x
    flush-conntrack ct_nw_src=10.0.0.1
    flush-conntrack ct_nw_src=10.0.0.1,ct_ipv6_src=fe80::1
    flush-conntrack ct_nw_src=10.0.0.1,ct_nw_src=10.0.0.2
    flush-conntrack ct_nw_src=10.0.0
    flush-conntrack ct_ipv6_src=10.0.0.1
    flush-conntrack ct_tp_src=1
    flush-conntrack ct_nw_proto=6,ct_tp_src=x
    flush-conntrack ct_nw_proto=600
    flush-conntrack icmp_type=8
    flush-conntrack ct_nw_proto=1,icmp_type=8
    flush-conntrack nosuchfield=8
    flush-conntrack ct_nw_src=
    flush-conntrack '' ct_nw_src=10.0.0.1
    ct-stats-show
    -m ct-stats-show d0
    ct-stats-show d0 verbose
    ct-stats-show zone=5
    ct-stats-show nothere
    ct-bkts
    ct-bkts gt=5
    ct-set-maxconns 10
    ct-set-maxconns d0 10
    ct-set-maxconns d0 x
    ct-set-maxconns nothere 10
    ct-get-maxconns
    ct-get-nconns
    ct-get-nconns nothere
    ct-enable-tcp-seq-chk
    ct-disable-tcp-seq-chk d0
    ct-get-tcp-seq-chk
    ct-set-limits default=10
    ct-set-limits d0 default=15 zone=1,limit=5 zone=2,limit=6
    ct-set-limits zone=3,limit=0
    ct-set-limits default=x
    ct-set-limits zone=x,limit=1
    ct-set-limits zone=70000,limit=1
    ct-set-limits zone=1,limit=x
    ct-set-limits zone=1
    ct-set-limits limit=1
    ct-set-limits zone=,limit=1
    ct-set-limits nonsense=1
    ct-set-limits
    ct-get-limits
    ct-get-limits zone=1,2,9
    ct-get-limits d0 zone=1
    ct-get-limits zone=x
    ct-get-limits nonsense
    ct-get-limits nothere zone=1
    ct-del-limits zone=1
    ct-del-limits d0 zone=2,3
    ct-del-limits nonsense
    ct-del-limits zone=x
    ct-get-limits
    ct-set-limits default=0
    ipf-set-enabled v4
    ipf-set-enabled d0 v6
    ipf-set-enabled x
    ipf-set-disabled v4
    ipf-set-min-frag v4 1000
    ipf-set-min-frag v5 1000
    ipf-set-min-frag v4 x
    ipf-set-min-frag v4
    ipf-set-max-nfrags 100
    ipf-set-max-nfrags x
    ipf-get-status
    -m ipf-get-status d0
    parse-actions 1,2,3
    parse-actions 4 'set(tunnel(tun_id=0x1,dst=1.1.1.1,ttl=64,flags(key)))' 'push_vlan(vid=1,pcp=0),4'
    parse-actions nonsense
    parse-actions
    normalize-actions in_port(1),eth(),eth_type(0x0800),ipv4() 3,2,1
    normalize-actions in_port(1),eth(),eth_type(0x8100),vlan(vid=1,pcp=0),encap(eth_type(0x0800),ipv4()) 'push_vlan(tpid=0x88a8,vid=4,pcp=0),3,2,pop_vlan,pop_vlan,1'
    -m normalize-actions in_port(p1),eth(),eth_type(0x8847),mpls(label=5,tc=1,ttl=64,bos=1) 1 p1=4
    normalize-actions in_port(1),eth() nonsense
    normalize-actions nonsense 1
    normalize-actions in_port(1),eth() 1 x
    normalize-actions in_port(1)
    show d0
    del-dp d0
    dump-dps
  `),
];
