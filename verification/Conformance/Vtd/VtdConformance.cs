using Harness.Foreign;
using Xunit.Abstractions;

namespace Conformance.Vtd;

/// <summary>One table of cases, two machines that have nothing in common.</summary>
public sealed class VtdConformance(ITestOutputHelper output)
{
    private const int Devices = 2;

    public static TheoryData<string> Names => new(VtdCases.All.Select(row => row.Name));

    [QemuTheory]
    [MemberData(nameof(Names))]
    public void QEMU_does_as_the_specification_says(string name)
    {
        using var qemu = QemuVtd.Start(Devices, VtdBench.Payload);
        Find(name).Script(new(qemu));
    }

    private static VtdCase Find(string name) => VtdCases.All.Single(row => row.Name == name);
}
