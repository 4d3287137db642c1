using System.Reflection;
using IommuSim;
using IommuSim.Cpu;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Cpu;
using Vcmm.Dma;
using Vcmm.Invalidations;
using Vcmm.Tables;
using Vcmm.Vtd;

namespace Properties.Library;

/// <summary>A null where none may be is refused by the parameter's name before anything has changed: all public methods of the library and the simulator.</summary>
/// <remarks>
/// Left out are what a span is given to, which reflection cannot call; the parts of values, which a <c>default</c> has too; exceptions; and
/// tables, whose calls are those of drivers on the way of every map and unmap.
/// </remarks>
public sealed class NullArgumentLaws
{
    /// <summary>In legacy mode the driver looks at no table before it names it to the hardware.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_null_is_refused_by_name(bool isScalable)
    {
        using var world = new World(isScalable);
        int checkedCount = 0;
        var wrong = new List<string>();
        foreach (MethodBase method in Methods(world))
        {
            ParameterInfo[] parameters = method.GetParameters();
            for (int i = 0; i < parameters.Length; i++)
            {
                if (!MayNotBeNull(parameters[i])) continue;
                object?[] arguments = [.. parameters.Select(world.ArgumentFor)];
                arguments[i] = null;
                checkedCount++;
                if (RefusedName(method, world, arguments) is var name && name != parameters[i].Name)
                    wrong.Add($"{method.DeclaringType!.Name}.{method.Name}: {parameters[i].Name}: {name}");
            }
        }

        Assert.True(wrong.Count == 0, string.Join(Environment.NewLine, wrong));
        Assert.InRange(checkedCount, 60, 200);
    }

    private static IEnumerable<MethodBase> Methods(World world)
    {
        foreach (Type type in typeof(VcmManager).Assembly.GetExportedTypes().Concat(typeof(VtdOptions).Assembly.GetExportedTypes()))
        {
            if (type.IsInterface || type.Name.StartsWith('<') || type.IsAssignableTo(typeof(Exception)) || type.IsAssignableTo(typeof(Delegate))) continue;
            if (type.GetInterface(nameof(IPageTable)) is not null) continue;
            Type closed = type.IsGenericTypeDefinition ? world.Close(type) : type;
            const BindingFlags declared = BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;
            bool isRecord = closed.GetMethod("<Clone>$") is not null || closed.GetMethod("PrintMembers", BindingFlags.NonPublic | BindingFlags.Instance) is not null;
            IEnumerable<MethodBase> all = closed.GetMethods(declared);
            if (!closed.IsAbstract && !closed.IsValueType) all = all.Concat(closed.GetConstructors());
            foreach (MethodBase method in all)
            {
                if (isRecord && (method.IsConstructor || method.IsSpecialName || method.Name is "Equals" or "Deconstruct" or "<Clone>$")) continue;
                if (method.Name is "Equals" || method.GetParameters().Any(static parameter => parameter.ParameterType.IsByRefLike)) continue;
                yield return method;
            }
        }
    }

    private static bool MayNotBeNull(ParameterInfo parameter) =>
        !parameter.IsOut && !parameter.ParameterType.IsValueType && !parameter.ParameterType.IsByRef && !parameter.ParameterType.IsPointer
        && new NullabilityInfoContext().Create(parameter).WriteState == NullabilityState.NotNull;

    private static string? RefusedName(MethodBase method, World world, object?[] arguments)
    {
        try
        {
            if (method is ConstructorInfo constructor) constructor.Invoke(arguments);
            else method.Invoke(method.IsStatic ? null : world.InstanceOf(method.DeclaringType!), arguments);
            return "it was accepted";
        }
        catch (TargetInvocationException exception)
        {
            return exception.InnerException is ArgumentNullException refused ? refused.ParamName : exception.InnerException!.GetType().Name;
        }
    }

    /// <summary>One of each thing that has methods.</summary>
    private sealed class World : IDisposable
    {
        private readonly RamBlock _ram = new(PhysRange.FromLength(new(2UL << 20), 32UL << 20));
        private readonly List<object> _things = [];

        public World(bool isScalable)
        {
            VtdOptions hardware = isScalable ? PageRequestSystem.Hardware : VtdOptions.Default with { PassThrough = true };
            var steps = new StepHook(static (_, _) => { });
            var simulator = new VtdIommu<Ram, StepHook>(_ram.Port, hardware, steps);
            var frames = new FrameAllocator(_ram.Range);
            var driver = VtdDriver<Ram>.Start(_ram.Port, simulator, frames, new() { Scalable = isScalable });
            var bank = new MemoryBank(PhysRange.FromLength(new(1UL << 40), 1UL << 20), new("bank"), IsCoherent: true);
            var ranges = new RangeAllocator(new(new(0), new((1UL << 40) - 1)));
            var manager = new VcmManager(frames, new() { Memory = _ram.Port });
            Device device = manager.AddDevice(driver, new(0x20));
            Vcm region = manager.CreateVcm(IovaRange.FromLength(new(1 << 20), 1 << 28));
            Association association = region.Associate(device);
            IommuDomain domain = IommuDomain.Create(driver, frames);
            region.TryGetTable(association.Format, out IPageTable? table);
            var master = new BusMaster<Ram, StepHook>(simulator, _ram.Port, new(0x20));
            var cores = new CpuCluster<Ram, StepHook>(_ram.Port, new(), steps);
            _things.AddRange([
                simulator, frames, driver, bank, new BankedFrames([bank]), ranges, manager, device, region, association, domain, table!, master,
                new CachedRangeAllocator(ranges), manager.Allocate(4096), region.Reserve(4096), new DmaMapping<Ram>(domain, ranges, _ram.Port, frames),
                domain.CreateGather(), new FlushQueue(), new TablePagePool(), new MemoryRequest(), VcmOptions.Default, AssociationOptions.Default,
                MemoryOptions.Default, new VtdDriverOptions(), new AtsCapability(), hardware, cores, new CpuOptions(), new DmaQueue<Ram, StepHook>(master),
                new ScatterGatherEngine<Ram, StepHook>(master), new List<DeviceFault>(), new List<Mapping>(), new List<IovaRange>(),
                new CpuMmu<X86FirstStage, Ram>(new SimpleCpus(_ram.Port), _ram.Port), new NoIommu(), TimeProvider.System, new DmaRequest(default, default, default),
            ]);
        }

        public Type Close(Type definition) => InstanceType(definition) ?? definition.MakeGenericType(Arguments(definition));

        public object InstanceOf(Type type) =>
            _things.Find(thing => thing.GetType() == type) ?? throw new InvalidOperationException($"the world has no {type}");

        public object? ArgumentFor(ParameterInfo parameter)
        {
            if (parameter.HasDefaultValue) return parameter.DefaultValue;
            Type type = parameter.ParameterType.IsByRef ? parameter.ParameterType.GetElementType()! : parameter.ParameterType;
            return _things.Find(thing => thing.GetType().IsAssignableTo(type)) ?? (type.IsValueType ? Activator.CreateInstance(type) : null);
        }

        public void Dispose() => _ram.Dispose();

        private Type? InstanceType(Type definition) =>
            _things.Select(static thing => thing.GetType()).FirstOrDefault(type => type.IsGenericType && type.GetGenericTypeDefinition() == definition);

        private static Type[] Arguments(Type definition) =>
            [.. definition.GetGenericArguments().Select(static argument => argument.Name switch { "TSteps" => typeof(StepHook), "TFormat" => typeof(X86FirstStage), _ => typeof(Ram) })];
    }
}
