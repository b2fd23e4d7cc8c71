# SPDX-License-Identifier: Apache-2.0
"""A learning switch in Python: os-ken drives the switch by OpenFlow 1.3.

    osken-manager examples/openflow/learning_switch.py

Packets that no flow fits come up. Their source is noted, and once both ends of a conversation are
known each way gets a flow, so that its packets come up no more.
"""
from os_ken.base import app_manager
from os_ken.controller import ofp_event
from os_ken.controller.handler import CONFIG_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from os_ken.lib.packet import ethernet, packet
from os_ken.ofproto import ofproto_v1_3


class LearningSwitch(app_manager.OSKenApp):
    """Where stations are, for each switch."""

    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.stations = {}

    @staticmethod
    def add_flow(switch, priority, match, actions, idle=0):
        parser = switch.ofproto_parser
        apply = switch.ofproto.OFPIT_APPLY_ACTIONS
        switch.send_msg(parser.OFPFlowMod(
            datapath=switch, priority=priority, match=match, idle_timeout=idle,
            instructions=[parser.OFPInstructionActions(apply, actions)]))

    @set_ev_cls(ofp_event.EventOFPSwitchFeatures, CONFIG_DISPATCHER)
    def greet(self, event):
        switch = event.msg.datapath
        parser, of = switch.ofproto_parser, switch.ofproto
        up = parser.OFPActionOutput(of.OFPP_CONTROLLER, of.OFPCML_NO_BUFFER)
        self.add_flow(switch, 0, parser.OFPMatch(), [up])

    @set_ev_cls(ofp_event.EventOFPPacketIn, MAIN_DISPATCHER)
    def packet_in(self, event):
        message = event.msg
        switch = message.datapath
        parser, of = switch.ofproto_parser, switch.ofproto
        came_by = message.match["in_port"]
        frame = packet.Packet(message.data).get_protocol(ethernet.ethernet)
        stations = self.stations.setdefault(switch.id, {})
        stations[frame.src] = came_by
        leaves_by = stations.get(frame.dst, of.OFPP_FLOOD)
        actions = [parser.OFPActionOutput(leaves_by)]
        if leaves_by != of.OFPP_FLOOD:
            match = parser.OFPMatch(in_port=came_by, eth_src=frame.src, eth_dst=frame.dst)
            self.add_flow(switch, 1, match, actions, idle=300)
        switch.send_msg(parser.OFPPacketOut(
            datapath=switch, buffer_id=of.OFP_NO_BUFFER, in_port=came_by,
            actions=actions, data=message.data))
