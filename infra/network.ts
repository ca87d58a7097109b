// For a database that only a VPC reaches, such as RDS without a public address. By default there is none: it needs a NAT, about $33 a month.
// Named by its ids instead of looked up, so that synthesis needs neither an account nor a network.

import { Annotations, Fn } from 'aws-cdk-lib'
import { type ISecurityGroup, type IVpc, SecurityGroup, Vpc } from 'aws-cdk-lib/aws-ec2'
import { Construct } from 'constructs'

export class Network extends Construct {
  readonly vpc: IVpc
  /** What the database's own group has to let in, at its port. */
  readonly securityGroup: ISecurityGroup

  constructor(scope: Construct, id: string, props: { vpcId: string; subnetIds: readonly string[] }) {
    super(scope, id)
    this.vpc = Vpc.fromVpcAttributes(this, 'Vpc', {
      vpcId: props.vpcId,
      privateSubnetIds: [...props.subnetIds],
      // Nobody reads the zones: the subnets say where a function runs. One is asked for each.
      availabilityZones: props.subnetIds.map((_, i) => Fn.select(i, Fn.getAzs())),
    })
    // Route tables are for gateway endpoints, of which there are none here.
    Annotations.of(this).acknowledgeWarning('@aws-cdk/aws-ec2:noSubnetRouteTableId')
    this.securityGroup = new SecurityGroup(this, 'Functions', {
      vpc: this.vpc,
      description: 'Tokay functions: they call out, nobody calls them',
      allowAllOutbound: true,
    })
  }
}
