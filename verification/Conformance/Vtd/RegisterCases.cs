using static Conformance.Vtd.VtdBench;

namespace Conformance.Vtd;

/// <summary>Registers by themselves.</summary>
internal static class RegisterCases
{
    public static IEnumerable<VtdCase> Rows =>
    [
        new("The capabilities that the rows rely on are told", "Capability Register, Extended Capability Register", bench =>
        {
            ulong capability = bench.Registers.Read64(VtdRegister.CAP), extended = bench.Registers.Read64(VtdRegister.ECAP);
            Assert.Equal(1u, bench.Registers.Read32(VtdRegister.VER) >> 4 & 0xF);
            Assert.Equal(6UL, capability & 7);
            Assert.Equal(0UL, capability >> 7 & 1);
            Assert.Equal(0x6UL, capability >> 8 & 0x1F);
            Assert.Equal(47UL, capability >> 16 & 0x3F);
            Assert.Equal(3UL, capability >> 34 & 0xF);
            Assert.Equal(1UL, capability >> 39 & 1);
            Assert.Equal(0UL, capability >> 40 & 0xFF);
            Assert.Equal(18UL, capability >> 48 & 0x3F);
            Assert.Equal(1UL, extended >> 1 & 1);
            Assert.Equal(0UL, extended >> 2 & 1);
            Assert.Equal(1UL, extended >> 6 & 1);
            Assert.Equal(0UL, extended >> 7 & 1);
        }),
        new("A capability register keeps its value when it is written", "Capability Register", bench =>
        {
            ulong before = bench.Registers.Read64(VtdRegister.CAP);
            bench.Registers.Write64(VtdRegister.CAP, ~before);
            Assert.Equal(before, bench.Registers.Read64(VtdRegister.CAP));
        }),
        new("A 64-bit register is read in halves", "Register Descriptions", bench =>
        {
            ulong whole = bench.Registers.Read64(VtdRegister.CAP);
            Assert.Equal(whole & 0xFFFF_FFFF, bench.Registers.Read32(VtdRegister.CAP));
            Assert.Equal(whole >> 32, bench.Registers.Read32(VtdRegister.CAP + 4));
        }),
        new("The root table address is read back", "Root Table Address Register", bench =>
        {
            bench.Registers.Write64(VtdRegister.RTADDR, Root);
            Assert.Equal(Root, bench.Registers.Read64(VtdRegister.RTADDR));
        }),
        new("Global status tells what global command turned on, and off", "Global Status Register", bench =>
        {
            bench.Build();
            Assert.Equal(0u, bench.Registers.Read32(VtdRegister.GSTS));
            bench.Enable();
            Assert.Equal(1u << 31 | 1u << 30 | 1u << 26, bench.Registers.Read32(VtdRegister.GSTS));
            bench.Registers.Write32(VtdRegister.GCMD, 1u << 26);
            Assert.Equal(1u << 30 | 1u << 26, bench.Registers.Read32(VtdRegister.GSTS));
            bench.Reads(Old, Old);
        }),
        new("Turning queued invalidation off and on starts the queue anew", "Invalidation Queue Head Register", bench =>
        {
            bench.Build();
            bench.Enable();
            bench.Sync();
            bench.AssertHead(16);
            bench.Registers.Write32(VtdRegister.GCMD, 1u << 31);
            bench.Registers.Write64(VtdRegister.IQT, 0);
            bench.Command(26);
            bench.AssertHead(0);
        }),
    ];
}
