using static Conformance.Vtd.VtdBench;

namespace Conformance.Vtd;

/// <summary>Primary fault logging: what is recorded, what is lost, and how that is told.</summary>
internal static class FaultCases
{
    private const string Logging = "Primary Fault Logging", Status = "Fault Status Register";

    public static IEnumerable<VtdCase> Rows =>
    [
        new("A record names the page, the requester and the kind of access", "Fault Recording Registers", bench =>
        {
            bench.Build();
            bench.Set(bench.ContextEntry(1), Level4 | Present, Domain(1) | FourLevels);
            bench.Enable();
            bench.Read(0x1234_5678_9ABC, stackalloc byte[4], device: 1);
            bench.AssertFault(new(Reason.ReadDenied, 0x1234_5678_9000, bench.Requester(1), IsRead: true));
            bench.Write(0x8765_4321_0FF0, Payload);
            bench.AssertFault(new(Reason.WriteDenied, 0x8765_4321_0000, bench.Requester(), IsRead: false));
        }),
        new("The first fault stays recorded until it is cleared", Logging, bench =>
        {
            bench.Build();
            bench.Enable();
            bench.Read(0x2000, stackalloc byte[4]);
            bench.Read(0x3000, stackalloc byte[4]);
            bench.AssertFault(new(Reason.ReadDenied, 0x2000, bench.Requester(), IsRead: true));

            // The second fault was lost, or merged with the first as one requester's: both are legal, only the one is an overflow.
            bench.Registers.Write32(VtdRegister.FSTS, VtdRegister.PFO);
            bench.Read(0x3000, stackalloc byte[4]);
            bench.AssertFault(new(Reason.ReadDenied, 0x3000, bench.Requester(), IsRead: true));
        }),
        new("A fault that finds no free record sets the overflow, and none is recorded until that is cleared", Logging, bench =>
        {
            bench.Build();
            bench.Enable();
            bench.Read(0x2000, stackalloc byte[4]);
            Assert.Equal(VtdRegister.PPF, bench.FaultStatus & (VtdRegister.PPF | VtdRegister.PFO));
            bench.Read(0x3000, stackalloc byte[4], device: 1);
            Assert.Equal(VtdRegister.PPF | VtdRegister.PFO, bench.FaultStatus & (VtdRegister.PPF | VtdRegister.PFO));
            bench.AssertFault(new(Reason.ReadDenied, 0x2000, bench.Requester(), IsRead: true));
            bench.Read(0x4000, stackalloc byte[4]);
            bench.AssertNoFault("a fault while the overflow stands");
            bench.Registers.Write32(VtdRegister.FSTS, VtdRegister.PFO);
            Assert.Equal(0u, bench.FaultStatus & VtdRegister.PFO);
            bench.ReadFaults(0x4000, Reason.ReadDenied);
        }),
        new("Writing zeros clears neither the status nor a record", Status, bench =>
        {
            bench.Build();
            bench.Enable();
            bench.Read(0x2000, stackalloc byte[4]);
            bench.Put(0xF);
            bench.Ring();
            bench.Registers.Write32(VtdRegister.FSTS, 0);
            bench.Registers.Write64(bench.FaultRecord, 0);
            bench.Registers.Write64(bench.FaultRecord + 8, 0);
            Assert.Equal(VtdRegister.IQE, bench.FaultStatus & VtdRegister.IQE);
            bench.AssertFault(new(Reason.ReadDenied, 0x2000, bench.Requester(), IsRead: true));
        }),
        new("A pending fault is shown by its record: writing 1 to the status does not clear it", Status, bench =>
        {
            bench.Build();
            bench.Enable();
            bench.Read(0x2000, stackalloc byte[4]);
            bench.Registers.Write32(VtdRegister.FSTS, VtdRegister.PPF);
            Assert.Equal(VtdRegister.PPF, bench.FaultStatus & VtdRegister.PPF);
            bench.AssertFault(new(Reason.ReadDenied, 0x2000, bench.Requester(), IsRead: true));
        }),
    ];
}
